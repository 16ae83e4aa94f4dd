//! How many incidents a day has, of which kind, at which hour. Shares and hours are plain integers, so that every machine draws alike.

use jiff::civil::Weekday;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::FIRST_DAY;
use crate::place::Land;

/// A kind of incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Code in the city's category tree.
    pub code: &'static str,
    /// What people call it.
    pub name: &'static str,
    /// Incidents of a mean day in a full city.
    pub per_day: u32,
    /// Parts per thousand that reach the hotline, the police, the grid inspectors; the rest goes unreported.
    pub hotline: u32,
    /// See `hotline`.
    pub police: u32,
    /// See `hotline`.
    pub grid: u32,
}

/// All kinds.
pub const KINDS: &[Kind] = &[
    kind("environment.rubbish", "暴露垃圾", 700, 300, 0, 500),
    kind("environment.drain", "下水堵塞", 300, 600, 0, 200),
    kind("noise.construction", "施工噪声", 420, 650, 100, 50),
    kind("noise.living", "生活噪声", 520, 450, 350, 0),
    kind("traffic.parking", "违法停车", 900, 350, 450, 0),
    kind("traffic.accident", "交通事故", 800, 20, 930, 0),
    kind("utility.water", "供水问题", 260, 850, 0, 20),
    kind("utility.power", "停电", 180, 850, 20, 0),
    kind("housing.property", "物业纠纷", 420, 750, 60, 30),
    kind("dispute.neighbour", "邻里纠纷", 300, 300, 400, 150),
    kind("dispute.wage", "欠薪", 120, 500, 150, 50),
    kind("safety.theft", "盗窃", 240, 20, 900, 0),
    kind("safety.fire_lane", "占用消防通道", 200, 350, 100, 350),
    kind("road.damage", "道路破损", 240, 450, 0, 400),
];

const fn kind(code: &'static str, name: &'static str, per_day: u32, hotline: u32, police: u32, grid: u32) -> Kind {
    Kind {
        code,
        name,
        per_day,
        hotline,
        police,
        grid,
    }
}

/// Parts per thousand of a day's incidents in each hour.
const HOURS: [u32; 24] = [
    14, 9, 7, 6, 7, 12, 24, 44, 62, 68, 66, 58, 46, 48, 60, 62, 58, 54, 56, 58, 60, 54, 40, 27,
];

/// A planted cluster: a building site that makes noise at night.
pub const CLUSTER_KIND: usize = 2;
/// Days [start, end) of the cluster, from the first day.
pub const CLUSTER_DAYS: std::ops::Range<u32> = 12..24;
/// Incidents a day the cluster adds in a full city.
const CLUSTER_PER_DAY: u32 = 60;

/// Something that really happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// Index in [`KINDS`].
    pub kind: usize,
    /// Index of the address.
    pub address: usize,
    /// Minute of the day.
    pub minute: u32,
    /// Whether the planted cluster made it.
    pub planted: bool,
}

/// What happens on one day.
pub fn incidents_of_day(rng: &mut ChaCha8Rng, land: &Land, day: u32, scale: f64) -> Vec<Incident> {
    let date = FIRST_DAY.saturating_add(jiff::Span::new().days(i64::from(day)));
    let weekday = if matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday) {
        85
    } else {
        106
    };
    let mut incidents = Vec::new();
    for (index, kind) in KINDS.iter().enumerate() {
        let mean = f64::from(kind.per_day * weekday) / 100.0 * scale;
        for _ in 0..count_near(rng, mean) {
            incidents.push(Incident {
                kind: index,
                address: land.draw(rng),
                minute: minute(rng),
                planted: false,
            });
        }
    }
    if CLUSTER_DAYS.contains(&day) {
        let site = cluster_addresses(land);
        for _ in 0..count_near(rng, f64::from(CLUSTER_PER_DAY) * scale) {
            let address = site[rng.random_range(0..site.len())];
            let minute = (22 * 60 + rng.random_range(0..240)) % 1440;
            incidents.push(Incident {
                kind: CLUSTER_KIND,
                address,
                minute,
                planted: true,
            });
        }
    }
    incidents
}

/// The addresses nearest to the building site.
fn cluster_addresses(land: &Land) -> Vec<usize> {
    let site = &land.addresses()[17];
    let mut near: Vec<usize> = (0..land.addresses().len()).collect();
    let distance = |index: usize| {
        let address = &land.addresses()[index];
        let (x, y) = (address.lng - site.lng, address.lat - site.lat);
        x * x + y * y
    };
    near.sort_by(|&a, &b| distance(a).total_cmp(&distance(b)).then(a.cmp(&b)));
    near.truncate(25);
    near
}

/// A whole number with this mean and a variance like counts have, from uniform draws only.
fn count_near(rng: &mut ChaCha8Rng, mean: f64) -> u32 {
    // Binomial with probability 1/2 over 2·mean trials in blocks of 64 bits has half a count's variance; twice the half is right.
    let trials = (mean * 2.0) as u32;
    let mut ones = 0;
    let mut left = trials;
    while left > 0 {
        let take = left.min(64);
        let bits: u64 = rng.random();
        ones += (bits & (u64::MAX >> (64 - take))).count_ones();
        left -= take;
    }
    let rest = mean * 2.0 - f64::from(trials);
    let extra = u32::from(f64::from(rng.random_range(0..1_000_000)) / 1e6 < rest / 2.0);
    ones + extra
}

fn minute(rng: &mut ChaCha8Rng) -> u32 {
    let total: u32 = HOURS.iter().sum();
    let mut ticket = rng.random_range(0..total);
    for (hour, share) in HOURS.iter().enumerate() {
        if ticket < *share {
            return hour as u32 * 60 + rng.random_range(0..60);
        }
        ticket -= share;
    }
    0
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn the_mean_of_the_counts_is_the_mean() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for mean in [0.3, 5.0, 120.5] {
            let sum: u32 = (0..2_000).map(|_| count_near(&mut rng, mean)).sum();
            let measured = f64::from(sum) / 2_000.0;
            assert!((measured - mean).abs() < 0.05 * mean + 0.05, "{measured} for {mean}");
        }
    }

    #[test]
    fn the_cluster_stands_only_on_its_days() {
        let land = Land::invent();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let planted = |rng: &mut ChaCha8Rng, day| {
            incidents_of_day(rng, &land, day, 1.0)
                .iter()
                .filter(|incident| incident.planted)
                .count()
        };
        assert_eq!(planted(&mut rng, CLUSTER_DAYS.start - 1), 0);
        assert!(planted(&mut rng, CLUSTER_DAYS.start) > 30);
        assert_eq!(planted(&mut rng, CLUSTER_DAYS.end), 0);
    }
}
