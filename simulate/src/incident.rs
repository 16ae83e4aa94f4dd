//! What truly happens: for each kind a Poisson process in place and time, its rate the product of where people are, weekday, hour,
//! season, weather and holidays; and what is planted on top.

use crate::kind::KINDS;
use crate::plan::PlanKind;
use crate::random::{Purpose, Random};
use crate::world::World;

/// Incidents a day is named for at most.
const PER_DAY_MAX: i64 = 10_000_000;

/// Something that happened.
#[derive(Debug, Clone, Copy)]
pub struct Incident {
    /// Names it: day × 10⁷ + number.
    pub id: i64,
    /// Index in [`KINDS`].
    pub kind: usize,
    /// Second of its day.
    pub second: u32,
    /// Index of the address.
    pub address: u32,
    /// The planted thing that made it.
    pub plan: Option<u32>,
    /// Reports a pipe break brings; else 0.
    pub crowd: u32,
}

/// Incidents of a kind that a day of a full city has on average, without what is planted.
pub fn mean_of(world: &World, kind: usize, day: u32) -> f64 {
    KINDS[kind].per_day * KINDS[kind].day_factor(world.calendar.day(day), world.weather(day))
}

/// What happens on a day, in the order of time.
pub fn incidents_of(world: &World, day: u32) -> Vec<Incident> {
    let mut random = Random::new(world.options.seed, day, Purpose::Incident);
    let scale = world.options.scale;
    let mut incidents = Vec::new();
    let mut push = |kind: usize, address: u32, plan, crowd, random: &mut Random| {
        incidents.push(Incident {
            id: 0,
            kind,
            second: KINDS[kind].second(random.below(1_000), random.below(3_600)),
            address,
            plan,
            crowd,
        });
    };
    for (index, kind) in KINDS.iter().enumerate() {
        for _ in 0..random.poisson(mean_of(world, index, day) * scale) {
            let address = world.book.draw(kind.spread, &mut random);
            push(index, address, None, 0, &mut random);
        }
    }
    for plan in world.plans.iter().filter(|plan| (plan.start..plan.end).contains(&day)) {
        if plan.what == PlanKind::Pipe {
            let reports = (plan.extra * scale).max(3.0) as u32;
            push(plan.kind, plan.middle, Some(plan.id), reports, &mut random);
        }
        for _ in 0..random.poisson(plan.extra_on(day) * scale) {
            let address = *random.pick(&plan.addresses);
            push(plan.kind, address, Some(plan.id), 0, &mut random);
        }
    }
    // Equal seconds keep the order of the draws.
    incidents.sort_by_key(|incident| incident.second);
    for (number, incident) in incidents.iter_mut().enumerate() {
        incident.id = i64::from(day) * PER_DAY_MAX + number as i64;
    }
    incidents
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimulationOptions;

    fn world() -> World {
        let options = SimulationOptions {
            days: 90,
            ..SimulationOptions::default()
        };
        World::invent(options, 90)
    }

    #[test]
    fn plans_make_incidents_on_their_days_and_places_only() {
        let world = world();
        let clusters: Vec<_> = world
            .plans
            .iter()
            .filter(|plan| plan.what == PlanKind::Cluster)
            .collect();
        assert!(clusters.len() >= 10, "{} clusters in 90 days", clusters.len());
        for plan in clusters {
            assert!(plan.relative_risk > 1.0 && !plan.addresses.is_empty());
            let of_day = |day| {
                let incidents = incidents_of(&world, day);
                incidents
                    .into_iter()
                    .filter(|incident| incident.plan == Some(plan.id))
                    .collect::<Vec<_>>()
            };
            assert!(of_day(plan.end).is_empty());
            assert!(plan.start == 0 || of_day(plan.start - 1).is_empty());
            let first_days: Vec<Incident> = (plan.start..plan.start + 3).flat_map(of_day).collect();
            assert!(!first_days.is_empty());
            assert!(
                first_days
                    .iter()
                    .all(|incident| plan.addresses.contains(&incident.address))
            );
        }
    }

    #[test]
    fn a_day_has_about_as_many_incidents_as_its_means_say() {
        let world = world();
        let expected: f64 = (0..10)
            .flat_map(|day| (0..KINDS.len()).map(move |kind| (kind, day)))
            .map(|(kind, day)| mean_of(&world, kind, day))
            .sum();
        let found = (0..10)
            .flat_map(|day| incidents_of(&world, day))
            .filter(|incident| incident.plan.is_none())
            .count() as f64;
        assert!(
            (found - expected).abs() < 5.0 * libm::sqrt(expected),
            "{found} for {expected}"
        );
    }

    #[test]
    fn a_day_is_the_same_however_often_it_is_made() {
        let world = world();
        let ids = |day| {
            incidents_of(&world, day)
                .iter()
                .map(|incident| (incident.id, incident.address))
                .collect::<Vec<_>>()
        };
        assert_eq!(ids(5), ids(5));
        assert_ne!(ids(5), ids(6));
    }
}
