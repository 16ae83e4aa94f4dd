//! Two districts and three counties, 40 towns, 400 communities, 2,000 grids (up to 9,375), and how many people live where.

use std::collections::BTreeSet;

use super::mesh::{Block, COLUMNS, Mesh, Point, ROWS};
use super::names;
use crate::random::{Purpose, Random};

/// Grids where nothing else is said.
pub const GRIDS: u32 = 2_000;
/// Grids at least: one a community.
pub const GRIDS_MIN: u32 = 400;
/// Grids at most, as many as Taiyuan says it has.
pub const GRIDS_MAX: u32 = 9_375;
/// The day from which some grids belong to another community: 2025-03-01.
pub const CHANGE_DAY: u32 = 59;
/// The same as text.
pub const CHANGE_DATE: &str = "2025-03-01";

/// People of the city.
const PEOPLE: f64 = 3_200_000.0;
const TOWN_COMMUNITIES: u32 = 10;
/// More grids than this need a lattice twice as fine.
const COARSE_GRIDS: u32 = 2_500;

struct DistrictPlan {
    name: &'static str,
    block: Block,
    towns: u32,
}

const fn plan(name: &'static str, west: u32, south: u32, east: u32, north: u32, towns: u32) -> DistrictPlan {
    let block = Block {
        west,
        south,
        east,
        north,
    };
    DistrictPlan { name, block, towns }
}

const DISTRICTS: [DistrictPlan; 5] = [
    plan("澜东区", 51, 0, 82, 65, 10),
    plan("澜西区", 20, 0, 51, 65, 9),
    plan("青堰县", 0, 0, 20, 80, 8),
    plan("白苇县", 82, 0, 100, 80, 7),
    plan("岚口县", 20, 65, 82, 80, 6),
];

/// Centres of people: column, row, people per square kilometre at the middle, half-way radius in metres.
const CENTRES: [(u32, u32, f64, f64); 6] = [
    (36, 34, 19_000.0, 3_800.0),
    (63, 32, 23_000.0, 4_200.0),
    (50, 40, 14_000.0, 3_000.0),
    (9, 40, 7_500.0, 2_200.0),
    (91, 44, 8_500.0, 2_000.0),
    (52, 73, 6_500.0, 1_900.0),
];
const COUNTRYSIDE: f64 = 130.0;

/// A district or county.
#[derive(Debug, Clone)]
pub struct District {
    /// Six digits; 99 is no province.
    pub code: String,
    /// Name.
    pub name: &'static str,
    /// Its quads.
    pub block: Block,
    /// District of a city, not a county.
    pub is_urban: bool,
}

/// A street or town.
#[derive(Debug, Clone)]
pub struct Town {
    /// Nine digits.
    pub code: String,
    /// Name.
    pub name: String,
    /// Index of the district.
    pub district: usize,
    /// Its quads.
    pub block: Block,
    /// How readily people there report, parts per thousand of the mean: 400 to 1,200.
    pub propensity: u32,
}

/// A community or village.
#[derive(Debug, Clone)]
pub struct Community {
    /// Twelve digits.
    pub code: String,
    /// Name.
    pub name: String,
    /// Index of the town.
    pub town: usize,
    /// Its quads until [`CHANGE_DAY`].
    pub block: Block,
}

/// A grid of one community.
#[derive(Debug, Clone)]
pub struct Grid {
    /// Fifteen digits.
    pub code: String,
    /// Index of the community.
    pub community: usize,
    /// Its quads on the finer lattice.
    pub quads: BTreeSet<(u32, u32)>,
    /// Whether it stands from [`CHANGE_DAY`] only, or until it only.
    pub stands: Stands,
}

/// When a grid stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// Always.
    Always,
    /// Until the change.
    Before,
    /// From the change on.
    After,
}

/// The land.
#[derive(Debug)]
pub struct Land {
    /// The lattice.
    pub mesh: Mesh,
    /// How many times finer the grids' lattice is.
    pub finer: u32,
    /// Districts and counties.
    pub districts: Vec<District>,
    /// Towns and streets.
    pub towns: Vec<Town>,
    /// Communities and villages.
    pub communities: Vec<Community>,
    /// Grids; those that stand after the change only come last.
    pub grids: Vec<Grid>,
    /// People per quad of the lattice, row by row.
    pub people: Vec<f64>,
    /// Grid and community of each quad of the finer lattice, before and after the change.
    homes: [Vec<(u16, u16)>; 2],
}

impl Land {
    /// Invents the land with this many grids.
    pub fn invent(grids: u32) -> Self {
        let mut random = Random::new(0x59_75_6e_6c_61_6e, 0, Purpose::Land);
        let mesh = Mesh::invent(&mut random);
        let finer = if grids > COARSE_GRIDS { 2 } else { 1 };
        let mut land = Self {
            people: people(&mesh),
            mesh,
            finer,
            districts: Vec::new(),
            towns: Vec::new(),
            communities: Vec::new(),
            grids: Vec::new(),
            homes: [Vec::new(), Vec::new()],
        };
        for (index, plan) in DISTRICTS.iter().enumerate() {
            land.districts.push(District {
                code: format!("9901{:02}", index + 1),
                name: plan.name,
                block: plan.block,
                is_urban: index < 2,
            });
            land.add_towns(index, plan, &mut random);
        }
        // The grids have chance of their own, so that their number moves nothing else.
        land.add_grids(grids, &mut Random::new(u64::from(grids), 1, Purpose::Land));
        land.move_grids();
        land.settle();
        land
    }

    fn add_towns(&mut self, district: usize, plan: &DistrictPlan, random: &mut Random) {
        for (index, block) in plan.block.split(plan.towns, random).into_iter().enumerate() {
            let number = self.towns.len();
            let (first, kind) = if district < 2 { (1, "街道") } else { (100, "镇") };
            let propensity = match number {
                0 => 400,
                39 => 1_200,
                _ => random.between(400, 1_201),
            };
            self.towns.push(Town {
                code: format!("{}{:03}", self.districts[district].code, first + index),
                name: format!("{}{kind}", names::pair(1_100 + number)),
                district,
                block,
                propensity,
            });
            for (index, block) in block.split(TOWN_COMMUNITIES, random).into_iter().enumerate() {
                let kind = if district < 2 || index < 3 { "社区" } else { "村" };
                self.communities.push(Community {
                    code: format!("{}{:03}", self.towns[number].code, index + 1),
                    name: format!("{}{kind}", names::pair(1_150 + self.communities.len())),
                    town: number,
                    block,
                });
            }
        }
    }

    fn add_grids(&mut self, grids: u32, random: &mut Random) {
        let communities = self.communities.len() as u32;
        for (index, community) in self.communities.iter().enumerate() {
            let wanted = grids / communities + u32::from((index as u32) < grids % communities);
            let block = community.block.finer(self.finer);
            let parts = block.split(wanted.min(block.quads()), random);
            for (number, part) in parts.into_iter().enumerate() {
                self.grids.push(Grid {
                    code: format!("{}{:03}", community.code, number + 1),
                    community: index,
                    quads: part.iter().collect(),
                    stands: Stands::Always,
                });
            }
        }
    }

    /// In every fifth town the second community takes over one grid of the first. New codes start at 601.
    fn move_grids(&mut self) {
        for town in (0..self.towns.len()).step_by(5) {
            let from = town * TOWN_COMMUNITIES as usize;
            let neighbour: BTreeSet<(u32, u32)> = self.communities[from + 1].block.finer(self.finer).iter().collect();
            let candidate = self.grids.iter().position(|grid| {
                grid.community == from
                    && grid
                        .quads
                        .iter()
                        .any(|quad| beside(*quad).any(|other| neighbour.contains(&other)))
                    && is_one_piece(&self.without(from, grid))
            });
            let Some(index) = candidate else { continue };
            if self.without(from, &self.grids[index]).is_empty() {
                continue;
            }
            self.grids[index].stands = Stands::Before;
            self.grids.push(Grid {
                code: format!("{}601", self.communities[from + 1].code),
                community: from + 1,
                quads: self.grids[index].quads.clone(),
                stands: Stands::After,
            });
        }
    }

    fn without(&self, community: usize, grid: &Grid) -> BTreeSet<(u32, u32)> {
        self.communities[community]
            .block
            .finer(self.finer)
            .iter()
            .filter(|quad| !grid.quads.contains(quad))
            .collect()
    }

    fn settle(&mut self) {
        let width = COLUMNS * self.finer;
        let cells = (width * ROWS * self.finer) as usize;
        for (homes, left_out) in self.homes.iter_mut().zip([Stands::After, Stands::Before]) {
            *homes = vec![(0, 0); cells];
            for (index, grid) in self
                .grids
                .iter()
                .enumerate()
                .filter(|(_, grid)| grid.stands != left_out)
            {
                for (column, row) in &grid.quads {
                    homes[(row * width + column) as usize] = (index as u16, grid.community as u16);
                }
            }
        }
    }

    /// Grid and community of a quad of the finer lattice on a day.
    pub fn home(&self, (column, row): (u32, u32), day: u32) -> (u16, u16) {
        self.homes[usize::from(day >= CHANGE_DAY)][(row * COLUMNS * self.finer + column) as usize]
    }

    /// Quads of a community on the finer lattice, before or after the change.
    pub fn quads_of(&self, community: usize, after: bool) -> BTreeSet<(u32, u32)> {
        let left_out = if after { Stands::Before } else { Stands::After };
        self.grids
            .iter()
            .filter(|grid| grid.community == community && grid.stands != left_out)
            .flat_map(|grid| grid.quads.iter().copied())
            .collect()
    }

    /// The town a quad of the lattice lies in.
    pub fn town_of(&self, (column, row): (u32, u32)) -> usize {
        let (_, community) = self.home((column * self.finer, row * self.finer), 0);
        self.communities[usize::from(community)].town
    }

    /// The invented river, from west to east along the lattice.
    pub fn river(&self) -> Vec<Point> {
        let mut random = Random::new(0x59_75_6e_6c_61_6e, 2, Purpose::Land);
        let mut row = 46;
        (0..=COLUMNS)
            .map(|column| {
                row = (row + random.below(3)).saturating_sub(1).clamp(36, 56);
                self.mesh.node(column, row)
            })
            .collect()
    }
}

/// The quads beside a quad.
pub(super) fn beside((column, row): (u32, u32)) -> impl Iterator<Item = (u32, u32)> {
    [
        (column.checked_sub(1), Some(row)),
        (Some(column + 1), Some(row)),
        (Some(column), row.checked_sub(1)),
        (Some(column), Some(row + 1)),
    ]
    .into_iter()
    .filter_map(|(column, row)| Some((column?, row?)))
}

fn is_one_piece(quads: &BTreeSet<(u32, u32)>) -> bool {
    let Some(&first) = quads.first() else { return true };
    let mut found = BTreeSet::from([first]);
    let mut open = vec![first];
    while let Some(quad) = open.pop() {
        open.extend(beside(quad).filter(|other| quads.contains(other) && found.insert(*other)));
    }
    found.len() == quads.len()
}

fn people(mesh: &Mesh) -> Vec<f64> {
    let centres = CENTRES.map(|(column, row, peak, radius)| (mesh.node(column, row), peak, radius * radius));
    let mut people: Vec<f64> = (0..ROWS)
        .flat_map(|row| (0..COLUMNS).map(move |column| (column, row)))
        .map(|quad| {
            let middle = mesh.inside(quad, 5_000, 5_000);
            let density: f64 = centres
                .iter()
                .map(|(centre, peak, square)| {
                    let share = 1.0 + middle.square_metres_to(*centre) / square;
                    peak / (share * share)
                })
                .sum();
            (density + COUNTRYSIDE) * mesh.quad_km2(quad)
        })
        .collect();
    let all: f64 = people.iter().sum();
    for share in &mut people {
        *share = *share / all * PEOPLE;
    }
    people
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_areas_as_promised_and_every_quad_has_a_grid() {
        for grids in [GRIDS, GRIDS_MAX] {
            let land = Land::invent(grids);
            assert_eq!(
                (land.districts.len(), land.towns.len(), land.communities.len()),
                (5, 40, 400)
            );
            let before = land.grids.iter().filter(|grid| grid.stands != Stands::After).count();
            assert_eq!(before as u32, grids);
            let covered: usize = land
                .grids
                .iter()
                .filter(|grid| grid.stands != Stands::After)
                .map(|grid| grid.quads.len())
                .sum();
            assert_eq!(covered as u32, COLUMNS * ROWS * land.finer * land.finer);
            let moved = land.grids.iter().filter(|grid| grid.stands == Stands::After).count();
            assert!(moved >= 6, "{moved} grids change their community");
        }
    }

    #[test]
    fn areas_are_one_piece_on_both_sides_of_the_change() {
        let land = Land::invent(GRIDS);
        for community in 0..land.communities.len() {
            for after in [false, true] {
                let quads = land.quads_of(community, after);
                assert!(!quads.is_empty() && is_one_piece(&quads));
            }
        }
    }

    #[test]
    fn people_report_up_to_three_times_as_readily_in_one_town_as_in_another() {
        let land = Land::invent(GRIDS);
        let of = |pick: fn(u32, u32) -> u32| land.towns.iter().map(|town| town.propensity).reduce(pick);
        assert_eq!((of(u32::min), of(u32::max)), (Some(400), Some(1_200)));
    }
}
