//! What is planted, with known place, days and size: clusters, building sites that make noise, pipes that break, slow trends.
//!
//! Plans come by periods of 15 days, each from its own stream, so that a longer run plants the same in its first days.

use crate::kind::{KINDS, kind_of};
use crate::place::AddressBook;
use crate::random::{Purpose, Random};

const PERIOD_DAYS: u32 = 15;
/// Address draws of a plan before the busiest place of them is taken.
const TRIES: u32 = 4;

/// What is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanKind {
    /// More of a kind around a place, for days to weeks.
    Cluster,
    /// A building site: noise at night, for one to four months.
    Site,
    /// A pipe breaks: one incident that very many report.
    Pipe,
    /// A town has slowly more of a kind, for two to five months.
    Trend,
}

impl PlanKind {
    /// The word in the truth tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Site => "building_site",
            Self::Pipe => "pipe_break",
            Self::Trend => "trend",
        }
    }
}

/// One planted thing.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Names it in the truth tables.
    pub id: u32,
    /// What it is.
    pub what: PlanKind,
    /// Index of the kind of incident.
    pub kind: usize,
    /// First day.
    pub start: u32,
    /// Day behind the last.
    pub end: u32,
    /// The address in its middle.
    pub middle: u32,
    /// Radius in metres; 0 for a trend: the whole town.
    pub radius: u32,
    /// Incidents it adds on a mean day of a full city (at its full height); of a pipe: reports.
    pub extra: f64,
    /// Relative risk inside at full height.
    pub relative_risk: f64,
    /// The addresses it stands on.
    pub addresses: Vec<u32>,
}

impl Plan {
    /// Incidents it adds on a day of a full city.
    pub fn extra_on(&self, day: u32) -> f64 {
        if !(self.start..self.end).contains(&day) || self.what == PlanKind::Pipe {
            return 0.0;
        }
        if self.what == PlanKind::Trend {
            // It rises over its first half and stays.
            let half = f64::from(self.end - self.start) / 2.0;
            return self.extra * (f64::from(day - self.start + 1) / half).min(1.0);
        }
        self.extra
    }
}

/// The plans that stand on any of the first `days` days.
pub fn plans_of(seed: u64, book: &AddressBook, days: u32) -> Vec<Plan> {
    let mut plans = Vec::new();
    for period in 0..=days / PERIOD_DAYS {
        let mut random = Random::new(seed, period, Purpose::Plan);
        let mut number = period * 10;
        let mut add = |what, random: &mut Random| {
            number += 1;
            plans.push(invent(number, what, period, book, random));
        };
        add(PlanKind::Cluster, &mut random);
        add(PlanKind::Cluster, &mut random);
        add(PlanKind::Pipe, &mut random);
        if period % 2 == 0 {
            add(PlanKind::Site, &mut random);
        }
        if period % 3 == 0 {
            add(PlanKind::Trend, &mut random);
        }
    }
    plans.retain(|plan| plan.start < days);
    plans
}

fn invent(id: u32, what: PlanKind, period: u32, book: &AddressBook, random: &mut Random) -> Plan {
    const CLUSTERS: [&str; 8] = [
        "environment.rubbish",
        "environment.air",
        "housing.property",
        "safety.theft",
        "safety.fraud",
        "dispute.neighbour",
        "road.damage",
        "utility.power",
    ];
    const TRENDS: [&str; 4] = ["safety.fraud", "housing.property", "traffic.parking", "noise.living"];
    let kind = kind_of(match what {
        PlanKind::Cluster => random.pick::<&str>(&CLUSTERS),
        PlanKind::Site => "noise.construction",
        PlanKind::Pipe => "utility.water",
        PlanKind::Trend => random.pick::<&str>(&TRENDS),
    });
    let spread = KINDS[kind].spread;
    let middle = (0..TRIES)
        .map(|_| book.draw(spread, random))
        .max_by_key(|&address| (book.addresses[address as usize].people, address))
        .unwrap_or(0);
    let (radius, days, extra) = match what {
        PlanKind::Cluster => (
            random.between(200, 600),
            random.between(5, 22),
            f64::from(random.between(3, 10)),
        ),
        PlanKind::Site => (
            random.between(150, 350),
            random.between(30, 120),
            f64::from(random.between(3, 8)),
        ),
        PlanKind::Pipe => (random.between(300, 900), 1, f64::from(random.between(40, 121))),
        PlanKind::Trend => (0, random.between(60, 150), 0.0),
    };
    let place = &book.addresses[middle as usize];
    let addresses = if what == PlanKind::Trend {
        let town = place.town;
        (0..book.addresses.len() as u32)
            .filter(|&address| book.addresses[address as usize].town == town)
            .collect()
    } else {
        book.near(place.place, radius)
    };
    let usual: f64 = KINDS[kind].per_day
        * addresses
            .iter()
            .map(|&address| book.share(spread, address))
            .sum::<f64>();
    let extra = if what == PlanKind::Trend {
        // A trend doubles or triples what its town has.
        usual * f64::from(random.between(100, 201)) / 100.0
    } else {
        extra
    };
    let start = period * PERIOD_DAYS + random.below(PERIOD_DAYS);
    Plan {
        id,
        what,
        kind,
        start,
        end: start + days,
        middle,
        radius,
        extra,
        relative_risk: (usual + extra) / usual,
        addresses,
    }
}
