//! The invented land: one bent lattice of 80 × 25 grids, of which communities, towns and districts are blocks, so that every level
//! partitions the one above it exactly.

use std::fmt::Write as _;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// South-west corner, degrees WGS84.
const SOUTH: f64 = 32.40;
const WEST: f64 = 114.60;
const HEIGHT: f64 = 0.40;
const WIDTH: f64 = 0.64;
/// Grids east-west and north-south.
const COLUMNS: usize = 80;
const ROWS: usize = 25;
const COMMUNITY: (usize, usize) = (5, 1);
const TOWN: (usize, usize) = (10, 5);
const ROADS: usize = 60;
const ADDRESSES: usize = 6_000;

/// Name, kind and block of towns (columns, rows) of the two districts and three counties.
const DISTRICTS: [(&str, std::ops::Range<usize>, std::ops::Range<usize>); 5] = [
    ("澜东区", 3..6, 0..2),
    ("澜西区", 3..6, 2..4),
    ("青堰县", 0..3, 0..5),
    ("白苇县", 6..8, 0..5),
    ("岚口县", 3..6, 4..5),
];

const NAME_HEADS: [&str; 20] = [
    "云", "澜", "青", "岚", "白", "石", "柳", "桥", "河", "堰", "塘", "松", "竹", "梅", "泉", "坪", "沙", "苇", "湾",
    "岭",
];
const NAME_TAILS: [&str; 20] = [
    "安", "平", "兴", "和", "丰", "顺", "庆", "宁", "新", "华", "康", "泰", "裕", "明", "昌", "德", "仁", "义", "信",
    "源",
];

/// A standard address.
#[derive(Debug, Clone, PartialEq)]
pub struct Address {
    /// Degrees WGS84.
    pub lat: f64,
    /// Degrees WGS84.
    pub lng: f64,
    /// Index of the district.
    pub district: usize,
    /// Code of the community.
    pub community: String,
    /// District, road and number.
    pub text: String,
    /// How readily people there report, in hundredths (33 to 100): up to 3× between areas.
    pub reporting: u32,
}

/// The invented land.
#[derive(Debug)]
pub struct Land {
    vertices: Vec<(f64, f64)>,
    addresses: Vec<Address>,
    /// Sums of weights, for drawing an address.
    weight_sums: Vec<u64>,
}

impl Land {
    /// The same land always: it does not depend on the seed of the records.
    pub fn invent() -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(0x59_75_6e_6c_61_6e);
        let mut vertices = Vec::with_capacity((COLUMNS + 1) * (ROWS + 1));
        for row in 0..=ROWS {
            for column in 0..=COLUMNS {
                let inner = |index: usize, count: usize| index > 0 && index < count;
                let bend = |rng: &mut ChaCha8Rng| f64::from(rng.random_range(-300..=300)) / 1000.0;
                let x = column as f64 + if inner(column, COLUMNS) { bend(&mut rng) } else { 0.0 };
                let y = row as f64 + if inner(row, ROWS) { bend(&mut rng) } else { 0.0 };
                vertices.push((
                    round6(WEST + x / COLUMNS as f64 * WIDTH),
                    round6(SOUTH + y / ROWS as f64 * HEIGHT),
                ));
            }
        }
        let mut land = Self {
            vertices,
            addresses: Vec::new(),
            weight_sums: Vec::new(),
        };
        land.invent_addresses(&mut rng);
        land
    }

    fn invent_addresses(&mut self, rng: &mut ChaCha8Rng) {
        let roads: Vec<String> = (0..ROADS)
            .map(|road| {
                let kind = ["路", "街", "大道", "巷"][road % 4];
                format!(
                    "{}{}{kind}",
                    NAME_HEADS[road % 20],
                    NAME_TAILS[(road * 7 + road / 20) % 20]
                )
            })
            .collect();
        let mut sum = 0;
        for _ in 0..ADDRESSES {
            // The mean of three uniform draws lies near the middle: the city is dense there.
            let middle = |rng: &mut ChaCha8Rng, count: usize| {
                let draws: u32 = (0..3).map(|_| rng.random_range(0..1_000_000)).sum();
                f64::from(draws) / 3_000_000.0 * count as f64
            };
            let (x, y) = (middle(rng, COLUMNS), middle(rng, ROWS));
            let (column, row) = (x as usize, y as usize);
            let (lng, lat) = self.inside(column, row, x.fract(), y.fract());
            let district = district_of(column, row);
            let road = &roads[rng.random_range(0..ROADS)];
            self.addresses.push(Address {
                lat,
                lng,
                district,
                community: community_code(column, row),
                text: format!("云澜市{}{road}{}号", DISTRICTS[district].0, rng.random_range(1..400)),
                reporting: 33 + (column * 67 / COLUMNS) as u32,
            });
            // Few addresses have many incidents.
            sum += 1 + 40 / (1 + rng.random_range(0..40_u64));
            self.weight_sums.push(sum);
        }
    }

    /// A point of a grid, by bilinear interpolation of its corners.
    fn inside(&self, column: usize, row: usize, u: f64, v: f64) -> (f64, f64) {
        let (u, v) = (0.1 + 0.8 * u, 0.1 + 0.8 * v);
        let mix = |a: (f64, f64), b: (f64, f64), t: f64| (a.0 + (b.0 - a.0) * t, a.1 + (b.1 - a.1) * t);
        let south = mix(self.vertex(column, row), self.vertex(column + 1, row), u);
        let north = mix(self.vertex(column, row + 1), self.vertex(column + 1, row + 1), u);
        let (lng, lat) = mix(south, north, v);
        (round6(lng), round6(lat))
    }

    fn vertex(&self, column: usize, row: usize) -> (f64, f64) {
        self.vertices[row * (COLUMNS + 1) + column]
    }

    /// All addresses.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// Draws an address by its weight.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> usize {
        let total = self.weight_sums.last().copied().unwrap_or(1);
        let ticket = rng.random_range(0..total);
        self.weight_sums
            .partition_point(|&sum| sum <= ticket)
            .min(self.addresses.len() - 1)
    }

    /// GeoJSON of each level: district, town, community.
    pub fn area_files(&self) -> Vec<(&'static str, String)> {
        let mut districts = String::new();
        for (index, (name, columns, rows)) in DISTRICTS.iter().enumerate() {
            let block = (
                columns.start * TOWN.0..columns.end * TOWN.0,
                rows.start * TOWN.1..rows.end * TOWN.1,
            );
            self.feature(&mut districts, &district_code(index), name, "", block);
        }
        let mut towns = String::new();
        for row in 0..ROWS / TOWN.1 {
            for column in 0..COLUMNS / TOWN.0 {
                let block = (column * TOWN.0..(column + 1) * TOWN.0, row * TOWN.1..(row + 1) * TOWN.1);
                let (code, district) = town_code(block.0.start, block.1.start);
                let kind = if district < 2 { "街道" } else { "镇" };
                let name = format!("{}{}{kind}", NAME_HEADS[column * 2], NAME_TAILS[row * 3 + column]);
                self.feature(&mut towns, &code, &name, &district_code(district), block);
            }
        }
        let mut communities = String::new();
        for row in 0..ROWS / COMMUNITY.1 {
            for column in 0..COLUMNS / COMMUNITY.0 {
                let block = (
                    column * COMMUNITY.0..(column + 1) * COMMUNITY.0,
                    row * COMMUNITY.1..(row + 1) * COMMUNITY.1,
                );
                let code = community_code(block.0.start, block.1.start);
                let name = format!(
                    "{}{}社区",
                    NAME_HEADS[(column + row) % 20],
                    NAME_TAILS[(row + column * 3) % 20]
                );
                let (town, _) = town_code(block.0.start, block.1.start);
                self.feature(&mut communities, &code, &name, &town, block);
            }
        }
        [("district", districts), ("town", towns), ("community", communities)]
            .map(|(level, features)| {
                (
                    level,
                    format!("{{\"type\":\"FeatureCollection\",\"features\":[\n{features}\n]}}\n"),
                )
            })
            .to_vec()
    }

    fn feature(
        &self,
        text: &mut String,
        code: &str,
        name: &str,
        parent: &str,
        (columns, rows): (std::ops::Range<usize>, std::ops::Range<usize>),
    ) {
        let mut ring: Vec<(f64, f64)> = Vec::new();
        ring.extend((columns.start..columns.end).map(|column| self.vertex(column, rows.start)));
        ring.extend((rows.start..rows.end).map(|row| self.vertex(columns.end, row)));
        ring.extend(
            (columns.start + 1..=columns.end)
                .rev()
                .map(|column| self.vertex(column, rows.end)),
        );
        ring.extend(
            (rows.start + 1..=rows.end)
                .rev()
                .map(|row| self.vertex(columns.start, row)),
        );
        ring.push(ring[0]);
        let points: Vec<String> = ring.iter().map(|(lng, lat)| format!("[{lng:.6},{lat:.6}]")).collect();
        if !text.is_empty() {
            text.push_str(",\n");
        }
        write!(
            text,
            "{{\"type\":\"Feature\",\"properties\":{{\"code\":\"{code}\",\"name\":\"{name}\",\"parent\":\"{parent}\"}},\
             \"geometry\":{{\"type\":\"Polygon\",\"coordinates\":[[{}]]}}}}",
            points.join(",")
        )
        .expect("a String grows as needed");
    }
}

fn round6(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn district_of(column: usize, row: usize) -> usize {
    let (town_column, town_row) = (column / TOWN.0, row / TOWN.1);
    DISTRICTS
        .iter()
        .position(|(_, columns, rows)| columns.contains(&town_column) && rows.contains(&town_row))
        .expect("the districts cover the lattice")
}

fn district_code(district: usize) -> String {
    // 99 is no province: the codes are invented, too.
    format!("9901{:02}", district + 1)
}

fn town_code(column: usize, row: usize) -> (String, usize) {
    let district = district_of(column, row);
    (
        format!(
            "{}{:03}",
            district_code(district),
            row / TOWN.1 * 10 + column / TOWN.0 + 1
        ),
        district,
    )
}

fn community_code(column: usize, row: usize) -> String {
    let number = row % TOWN.1 * 2 + column % TOWN.0 / COMMUNITY.0 + 1;
    format!("{}{number:03}", town_code(column, row).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_a_community_of_its_district() {
        let land = Land::invent();
        assert_eq!(land.addresses().len(), ADDRESSES);
        for address in land.addresses() {
            assert!(address.community.starts_with(&district_code(address.district)));
            assert_eq!(address.community.len(), 12);
        }
    }

    #[test]
    fn there_are_5_districts_40_towns_and_400_communities() {
        let files = Land::invent().area_files();
        let counts: Vec<usize> = files
            .iter()
            .map(|(_, text)| text.matches("\"Feature\"").count())
            .collect();
        assert_eq!(counts, [5, 40, 400]);
    }
}
