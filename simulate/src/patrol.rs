//! Patrols: how long they are out, what they look for, what they find. What they find says where they went; their effort is known.

use crate::calendar::DAY_S;
use crate::incident::Incident;
use crate::kind::KINDS;
use crate::random::{Purpose, Random};
use crate::world::World;

/// Minutes a patrol with the mean effort is out on a day.
const MEAN_MINUTES: u32 = 360;

/// Minutes that patrols are out in a community on a day.
pub fn minutes_of(world: &World, community: usize, day: u32) -> u32 {
    // Some communities are walked twice as much as others, always.
    let diligence = 240 + (community as u32 * 37 % 13) * 20;
    if world.calendar.day(day).kind.is_worked() {
        diligence
    } else {
        diligence * 3 / 10
    }
}

/// Whether a town's patrols look for a kind in a month: three kinds a town, others anew each month.
pub fn looks_for(world: &World, town: usize, kind: usize, day: u32) -> bool {
    let date = world.calendar.day(day);
    let month = (date.year as u32 * 12 + date.month) * 64 + town as u32;
    let mut random = Random::new(world.options.seed, month, Purpose::Patrol);
    (0..3).any(|_| random.below(KINDS.len() as u32) as usize == kind)
}

/// When a patrol finds an incident, if it does: on the next day that it is out.
pub fn finds(world: &World, day: u32, incident: &Incident, random: &mut Random) -> Option<u32> {
    let kind = &KINDS[incident.kind];
    if kind.patrol == 0 {
        return None;
    }
    let address = &world.book.addresses[incident.address as usize];
    let found_on = day + 1;
    let (_, community) = world.land.home(address.quad, found_on);
    let minutes = minutes_of(world, usize::from(community), found_on);
    // Drawn before what they look for is known, which takes longer to tell.
    let draw = random.below(1_000_000);
    let chance = |focus: u32| (kind.patrol * minutes / MEAN_MINUTES * focus / 100).min(950) * 1_000;
    if draw >= chance(160) {
        return None;
    }
    let focus = if looks_for(world, usize::from(address.town), incident.kind, found_on) {
        160
    } else {
        80
    };
    (draw < chance(focus)).then(|| found_on * DAY_S + random.between(8 * 3_600, 18 * 3_600))
}
