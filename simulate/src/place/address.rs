//! Roads, standard addresses, points of interest and their aliases; and how to draw an address.

use std::collections::{BTreeMap, BTreeSet};

use shiyu_schemas::place::LatLng;

use super::land::Land;
use super::mesh::{COLUMNS, PER_DEGREE, Point, ROWS};
use super::names;
use crate::datum::{gcj02_of, plane_of};
use crate::random::{Purpose, Random};

/// People an address has on average.
const PEOPLE_PER_ADDRESS: f64 = 80.0;
/// Resolution of cells in registers and truth: the one the hub counts at.
const CELL_RESOLUTION: u8 = 9;
const FINE_RESOLUTION: u8 = 11;

/// What stands at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Dwellings.
    Homes,
    /// Shops, offices.
    Shops,
    /// Schools, hospitals, markets, squares.
    Public,
    /// Workshops and factories.
    Works,
}

/// Which addresses a kind of incident is drawn to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Spread {
    /// Where people live.
    Homes = 0,
    /// Where they shop and work.
    Shops = 1,
    /// Along roads.
    Streets = 2,
    /// Low ground by the river.
    Low = 3,
}

/// All spreads.
pub const SPREADS: [Spread; 4] = [Spread::Homes, Spread::Shops, Spread::Streets, Spread::Low];

/// A standard address.
#[derive(Debug, Clone)]
pub struct Address {
    /// Where it is.
    pub place: Point,
    /// The same in GCJ-02, 10⁻⁷ degrees.
    pub gcj: Point,
    /// Northing and easting in EPSG:4547, centimetres.
    pub plane_cm: (i64, i64),
    /// Its quad on the grids' lattice.
    pub quad: (u32, u32),
    /// Index of the town.
    pub town: u16,
    /// Index of the road.
    pub road: u16,
    /// House number.
    pub number: u32,
    /// City, district, town, road and number.
    pub text: String,
    /// Index of the point of interest here.
    pub poi: Option<u16>,
    /// What stands here.
    pub used: Use,
    /// People who live here.
    pub people: u32,
    /// H3 cell of resolution 9, as BIGINT.
    pub cell: i64,
}

/// A road.
#[derive(Debug, Clone)]
pub struct Road {
    /// Name.
    pub name: String,
    /// Index of the town.
    pub town: u16,
    /// From one end to the other.
    pub line: Vec<Point>,
}

/// A point of interest.
#[derive(Debug, Clone)]
pub struct Poi {
    /// Name.
    pub name: String,
    /// What people call it.
    pub alias: String,
    /// Kind.
    pub kind: &'static str,
    /// Index of the address.
    pub address: u32,
}

/// All addresses.
#[derive(Debug)]
pub struct AddressBook {
    /// Addresses.
    pub addresses: Vec<Address>,
    /// Roads.
    pub roads: Vec<Road>,
    /// Points of interest.
    pub pois: Vec<Poi>,
    samplers: Vec<Sampler>,
}

impl AddressBook {
    /// Invents the addresses of a land.
    pub fn invent(land: &Land) -> Self {
        let mut random = Random::new(0x59_75_6e_6c_61_6e, 3, Purpose::Land);
        let mut book = Self {
            addresses: Vec::new(),
            roads: Vec::new(),
            pois: Vec::new(),
            samplers: Vec::new(),
        };
        let roads = book.invent_roads(land);
        let mut numbers = BTreeSet::new();
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                let people = land.people[(row * COLUMNS + column) as usize];
                let count = ((people / PEOPLE_PER_ADDRESS) as u32).max(2);
                for _ in 0..count {
                    book.invent_address(
                        land,
                        (column, row),
                        people / f64::from(count),
                        &roads,
                        &mut numbers,
                        &mut random,
                    );
                }
            }
        }
        book.weigh(land, &mut random);
        book
    }

    /// One road through every row and every column of a town's quads.
    fn invent_roads(&mut self, land: &Land) -> BTreeMap<(usize, bool, u32), u16> {
        let mut roads = BTreeMap::new();
        for (town, block) in land.towns.iter().map(|town| town.block).enumerate() {
            let rows = (block.south..block.north).map(|row| (true, row));
            let columns = (block.west..block.east).map(|column| (false, column));
            for (is_east_west, at) in rows.chain(columns) {
                let number = self.roads.len();
                let kind = match (is_east_west, number % 3) {
                    (true, 0) => "大道",
                    (true, _) => "路",
                    (false, 0) => "巷",
                    (false, _) => "街",
                };
                let line = if is_east_west {
                    (block.west..block.east)
                        .map(|column| land.mesh.inside((column, at), 5_000, 5_000))
                        .collect()
                } else {
                    (block.south..block.north)
                        .map(|row| land.mesh.inside((at, row), 5_000, 5_000))
                        .collect()
                };
                roads.insert((town, is_east_west, at), number as u16);
                self.roads.push(Road {
                    name: format!("{}{kind}", names::pair(number)),
                    town: town as u16,
                    line,
                });
            }
        }
        roads
    }

    fn invent_address(
        &mut self,
        land: &Land,
        (column, row): (u32, u32),
        people: f64,
        roads: &BTreeMap<(usize, bool, u32), u16>,
        numbers: &mut BTreeSet<(u16, u32)>,
        random: &mut Random,
    ) {
        // A place keeps off the sides of the finest quads and off the edges of cells, so that no machine's last bit decides.
        let (place, u, v, cell) = loop {
            let mut share = || 600 + random.below(3_800) + 5_000 * random.below(2);
            let (u, v) = (share(), share());
            let place = land.mesh.inside((column, row), u, v);
            if let Some(cell) = safe_cell(place) {
                break (place, u, v, cell);
            }
        };
        let town = land.town_of((column, row));
        let block = land.towns[town].block;
        let is_east_west = random.chance(500);
        let (at, along, side) = if is_east_west {
            (row, (column - block.west) * 20 + u / 500, v)
        } else {
            (column, (row - block.south) * 20 + v / 500, u)
        };
        let road = roads[&(town, is_east_west, at)];
        let mut number = along * 2 + 1 + u32::from(side > 5_000);
        while !numbers.insert((road, number)) {
            number += 2;
        }
        let (lat, lng) = (place.lat_degrees(), place.lng_degrees());
        let (gcj_lat, gcj_lng) = gcj02_of(lat, lng);
        let (north, east) = plane_of(lat, lng);
        let used = match random.below(100) {
            0..70 => Use::Homes,
            70..88 => Use::Shops,
            88..94 => Use::Public,
            _ => Use::Works,
        };
        let finer = land.finer;
        let half = |share: u32| if finer == 2 { share / 5_000 } else { 0 };
        self.addresses.push(Address {
            place,
            gcj: Point {
                lat: (gcj_lat * PER_DEGREE).round() as i32,
                lng: (gcj_lng * PER_DEGREE).round() as i32,
            },
            plane_cm: ((north * 100.0).round() as i64, (east * 100.0).round() as i64),
            quad: (column * finer + half(u), row * finer + half(v)),
            town: town as u16,
            road,
            number,
            text: format!(
                "云澜市{}{}{}{number}号",
                land.districts[land.towns[town].district].name,
                land.towns[town].name,
                self.roads[usize::from(road)].name
            ),
            poi: None,
            used,
            people: if used == Use::Homes { (people * 1.43) as u32 } else { 0 },
            cell,
        });
        if random.chance(if used == Use::Homes { 120 } else { 300 }) {
            self.invent_poi(used, random);
        }
    }

    fn invent_poi(&mut self, used: Use, random: &mut Random) {
        const HOMES: [(&str, &str); 4] = [("花园", "小区"), ("苑", "小区"), ("小区", "小区"), ("新村", "小区")];
        const SHOPS: [(&str, &str); 3] = [("购物中心", "商场"), ("商厦", "商场"), ("农贸市场", "市场")];
        const PUBLIC: [(&str, &str); 5] = [
            ("小学", "学校"),
            ("中学", "学校"),
            ("医院", "医院"),
            ("广场", "广场"),
            ("汽车站", "车站"),
        ];
        const WORKS: [(&str, &str); 2] = [("机械厂", "工厂"), ("工业园", "工厂")];
        let (tail, kind) = *match used {
            Use::Homes => random.pick(&HOMES),
            Use::Shops => random.pick(&SHOPS),
            Use::Public => random.pick(&PUBLIC),
            Use::Works => random.pick(&WORKS),
        };
        let head = names::pair(self.pois.len() * 7 + 3);
        let first: String = head.chars().take(1).collect();
        let address = self.addresses.len() - 1;
        self.addresses[address].poi = Some(self.pois.len() as u16);
        self.pois.push(Poi {
            name: format!("{head}{tail}"),
            alias: format!("老{first}{tail}"),
            kind,
            address: address as u32,
        });
    }

    fn weigh(&mut self, land: &Land, random: &mut Random) {
        let river = land.river();
        let mut weights: Vec<Vec<u32>> = SPREADS
            .iter()
            .map(|_| Vec::with_capacity(self.addresses.len()))
            .collect();
        for address in &self.addresses {
            // Few addresses have many incidents.
            let busy = 4 + 120 / (1 + random.below(60));
            let shops = match address.used {
                Use::Shops => 60,
                Use::Public => 40,
                Use::Works => 25,
                Use::Homes => 6,
            };
            let (column, _) = (address.quad.0 / land.finer, address.quad.1);
            let meets = river[column as usize].square_metres_to(address.place);
            let low = 1 + (40.0 / (1.0 + meets / 2_250_000.0)) as u32;
            weights[0].push(busy * address.people.max(4));
            weights[1].push(busy * shops * 2);
            weights[2].push(busy * 30 + shops);
            weights[3].push(low * (20 + address.people));
        }
        self.samplers = weights.into_iter().map(Sampler::new).collect();
    }

    /// Draws an address.
    pub fn draw(&self, spread: Spread, random: &mut Random) -> u32 {
        self.samplers[spread as usize].draw(random)
    }

    /// The share of a spread's draws that fall to an address.
    pub fn share(&self, spread: Spread, address: u32) -> f64 {
        let sampler = &self.samplers[spread as usize];
        f64::from(sampler.weights[address as usize]) / sampler.total as f64
    }

    /// Addresses within a distance, in order.
    pub fn near(&self, middle: Point, metres: u32) -> Vec<u32> {
        let square = f64::from(metres) * f64::from(metres);
        (0..self.addresses.len() as u32)
            .filter(|&index| self.addresses[index as usize].place.square_metres_to(middle) <= square)
            .collect()
    }

    /// Name of an address' road in pinyin.
    pub fn road_sound(&self, address: &Address) -> String {
        names::pinyin(&self.roads[usize::from(address.road)].name)
    }
}

/// The cell of a place, where it is the same a metre around it.
fn safe_cell(place: Point) -> Option<i64> {
    let of = |north, east| {
        let point = place.moved_cm(north, east);
        let fine = LatLng::new(point.lat_degrees(), point.lng_degrees())
            .ok()?
            .to_cell(FINE_RESOLUTION)?;
        Some(fine.parent(CELL_RESOLUTION)?.to_i64())
    };
    let cell = of(0, 0)?;
    [(100, 0), (-100, 0), (0, 100), (0, -100)]
        .iter()
        .all(|&(north, east)| of(north, east) == Some(cell))
        .then_some(cell)
}

/// Draws an index by its weight in one step (Vose's alias method, in whole numbers).
#[derive(Debug)]
struct Sampler {
    weights: Vec<u32>,
    total: u64,
    /// Keep the drawn index below this, else take its alias.
    keep: Vec<u32>,
    alias: Vec<u32>,
}

impl Sampler {
    fn new(weights: Vec<u32>) -> Self {
        let count = weights.len() as u64;
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        let mut scaled: Vec<u64> = weights.iter().map(|&weight| u64::from(weight) * count).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|&index| scaled[index] < total);
        let mut keep = vec![u32::MAX; weights.len()];
        let mut alias: Vec<u32> = (0..weights.len() as u32).collect();
        while let (Some(&low), Some(&high)) = (small.last(), large.last()) {
            small.pop();
            keep[low] = ((u128::from(scaled[low]) << 32) / u128::from(total)) as u32;
            alias[low] = high as u32;
            scaled[high] -= total - scaled[low];
            if scaled[high] < total {
                large.pop();
                small.push(high);
            }
        }
        Self {
            weights,
            total,
            keep,
            alias,
        }
    }

    fn draw(&self, random: &mut Random) -> u32 {
        let bits = random.bits();
        let index = (((bits >> 32) * self.keep.len() as u64) >> 32) as usize;
        if (bits as u32) < self.keep[index] {
            index as u32
        } else {
            self.alias[index]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::land::GRIDS;

    #[test]
    fn draws_follow_the_weights() {
        let sampler = Sampler::new(vec![1, 0, 5, 14]);
        let mut random = Random::new(1, 0, Purpose::Incident);
        let mut counts = [0_u32; 4];
        (0..20_000).for_each(|_| counts[sampler.draw(&mut random) as usize] += 1);
        assert_eq!(counts[1], 0);
        assert!(
            counts[0].abs_diff(1_000) < 150 && counts[2].abs_diff(5_000) < 300,
            "{counts:?}"
        );
    }

    #[test]
    fn addresses_are_unique_and_lie_in_their_quads_town() {
        let land = Land::invent(GRIDS);
        let book = AddressBook::invent(&land);
        assert!(book.addresses.len() > 30_000, "{}", book.addresses.len());
        let texts: BTreeSet<&str> = book.addresses.iter().map(|address| address.text.as_str()).collect();
        assert_eq!(texts.len(), book.addresses.len());
        let people: u64 = book.addresses.iter().map(|address| u64::from(address.people)).sum();
        assert!((2_500_000..3_400_000).contains(&people), "{people}");
        for address in &book.addresses {
            let town = land.town_of((address.quad.0 / land.finer, address.quad.1 / land.finer));
            assert_eq!(town, usize::from(address.town));
        }
    }
}
