//! Who notices, through which channel, how long after, how often the same thing. Patrols find what they look for; some records have no
//! incident behind them at all.

use crate::calendar::DAY_S;
use crate::gaming;
use crate::incident::Incident;
use crate::kind::{KINDS, PoliceClass, kind_of};
use crate::patrol;
use crate::random::{Purpose, Random};
use crate::world::World;

/// A department's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Feed {
    /// Orders of the 12345 hotline.
    Hotline,
    /// Calls to 110.
    Police,
    /// Reports of grid inspectors.
    Grid,
    /// Petitions.
    Petition,
    /// Events of devices.
    Device,
}

/// All feeds.
pub const FEEDS: [Feed; 5] = [Feed::Hotline, Feed::Police, Feed::Grid, Feed::Petition, Feed::Device];

impl Feed {
    /// Name of the feed and of its folder.
    pub fn word(self) -> &'static str {
        ["hotline", "police", "grid", "petition", "device"][self as usize]
    }
}

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Something that happened.
    Real,
    /// A question; nothing happened.
    Consult,
    /// The operator tries the system.
    Test,
    /// A call to the police that is none: silent, dialled by mistake, a nuisance.
    Invalid,
    /// A call for help with something that is no incident: a locked door, a lost thing.
    Help,
    /// A matter that is not the police's.
    NotPolice,
    /// Made up by a patrol.
    SelfMade,
    /// A device that was wrong.
    FalseAlarm,
}

impl Class {
    /// The word in the truth tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Consult => "consult",
            Self::Test => "test",
            Self::Invalid => "invalid",
            Self::Help => "help",
            Self::NotPolice => "not_police",
            Self::SelfMade => "self_made",
            Self::FalseAlarm => "false_alarm",
        }
    }
}

/// How a report relates to those before it about the same incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The first one.
    First,
    /// Another one in the same channel.
    Repeat,
    /// The first one of this channel, after one in another.
    OtherChannel,
    /// Handed over by another channel: 110 to 12345 or back.
    HandedOver,
}

impl Relation {
    /// The word in the truth tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Repeat => "repeat",
            Self::OtherChannel => "other_channel",
            Self::HandedOver => "handed_over",
        }
    }
}

/// Text of a record's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    bytes: [u8; 24],
    length: u8,
}

impl Id {
    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).expect("only letters and digits are put in")
    }
}

/// One report.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// Through which department.
    pub feed: Feed,
    /// What it is about.
    pub class: Class,
    /// The incident behind it.
    pub incident: Option<i64>,
    /// The plan behind the incident.
    pub plan: Option<u32>,
    /// Index of the true kind; of a record without an incident the kind it is taken for.
    pub kind: usize,
    /// Index of the address.
    pub address: u32,
    /// When it was filed, seconds since the first day's midnight.
    pub filed: u32,
    /// How it relates to others.
    pub relation: Relation,
    /// Its id.
    pub id: Id,
    /// Feed and id of the first report of the incident.
    pub first: Option<(Feed, Id)>,
}

impl Report {
    /// Whether the same was reported in this channel before.
    pub fn is_repeat(&self) -> bool {
        self.relation == Relation::Repeat
    }

    /// Index of the unit a device's event goes to.
    pub fn unit_of_device(&self) -> u8 {
        KINDS[self.kind].unit
    }
}

/// Parts per thousand that somebody reports the same again.
const AGAIN: u32 = 196;
/// Parts per thousand of matters not the police's that they hand to 12345, and of urgent ones that 12345 hands to 110.
const TO_HOTLINE: u32 = 110;
const TO_POLICE: u32 = 140;
/// Records without an incident on a mean day of a full city.
const CONSULTS: f64 = 400.0;
const TESTS: f64 = 5.0;
const INVALID: f64 = 1_040.0;
const NOT_POLICE: f64 = 610.0;
const HELP: f64 = 190.0;
const FALSE_ALARMS: f64 = 60.0;

/// All reports that a day's incidents lead to, and those of that day with none behind them.
pub fn reports_of(world: &World, day: u32, incidents: &[Incident]) -> Vec<Report> {
    let mut maker = Maker {
        world,
        day,
        random: Random::new(world.options.seed, day, Purpose::Report),
        numbers: [0; 5],
        reports: Vec::with_capacity(incidents.len() * 2),
    };
    for incident in incidents {
        maker.of_incident(incident);
    }
    maker.random = Random::new(world.options.seed, day, Purpose::Noise);
    maker.without_incident();
    maker.reports
}

struct Maker<'a> {
    world: &'a World,
    day: u32,
    random: Random,
    numbers: [u32; 5],
    reports: Vec<Report>,
}

impl Maker<'_> {
    fn of_incident(&mut self, incident: &Incident) {
        let start = self.reports.len();
        let kind = &KINDS[incident.kind];
        let at = self.day * DAY_S + incident.second;
        let town = self.world.book.addresses[incident.address as usize].town;
        let propensity = self.world.land.towns[usize::from(town)].propensity;
        if incident.crowd > 0 {
            for _ in 0..incident.crowd {
                let filed = at + 120 + self.random.waiting(5_400);
                self.push(Feed::Hotline, incident, filed);
            }
        } else if self.random.chance(kind.hotline * propensity / 1_000) {
            let mut filed = at + 120 + self.random.waiting(4_500);
            self.push(Feed::Hotline, incident, filed);
            while self.random.chance(AGAIN) {
                filed += 3_600 + self.random.waiting(2 * DAY_S);
                self.push(Feed::Hotline, incident, filed);
            }
        }
        if self.random.chance(kind.police) {
            let filed = at + self.random.waiting(420);
            self.push(Feed::Police, incident, filed);
            if self.random.chance(60) {
                let filed = filed + 60 + self.random.waiting(600);
                self.push(Feed::Police, incident, filed);
            }
        }
        self.hand_over(incident, start);
        if let Some(filed) = patrol::finds(self.world, self.day, incident, &mut self.random) {
            self.push(Feed::Grid, incident, filed);
        }
        let petition = kind.petition * propensity / 1_000;
        if petition > 0 && self.random.chance(petition) {
            let filed = at + self.random.between(2, 25) * DAY_S;
            self.push(Feed::Petition, incident, filed);
        }
        let device = match kind.code {
            "safety.fire" => 300,
            "road.manhole" => 400,
            "road.logging" => 500,
            "environment.rubbish" => 120,
            _ => 0,
        };
        if device > 0 && self.random.chance(device) {
            let filed = at + self.random.between(5, 400);
            self.push(Feed::Device, incident, filed);
        }
        self.relate(start);
    }

    fn push(&mut self, feed: Feed, incident: &Incident, filed: u32) {
        let class = if feed == Feed::Police && KINDS[incident.kind].class == PoliceClass::NonPolice {
            Class::NotPolice
        } else {
            Class::Real
        };
        let report = Report {
            feed,
            class,
            incident: Some(incident.id),
            plan: incident.plan,
            kind: incident.kind,
            address: incident.address,
            filed,
            relation: Relation::First,
            id: self.id(feed, filed),
            first: None,
        };
        self.reports.push(report);
    }

    /// 110 hands what is not its own to 12345; 12345 hands what is urgent to 110.
    fn hand_over(&mut self, incident: &Incident, start: usize) {
        let is_urgent = ["safety.fire", "safety.assault", "traffic.accident"].contains(&KINDS[incident.kind].code);
        for index in start..self.reports.len() {
            let report = self.reports[index];
            let to = match report.feed {
                Feed::Police if report.class == Class::NotPolice && self.random.chance(TO_HOTLINE) => Feed::Hotline,
                Feed::Hotline if is_urgent && self.random.chance(TO_POLICE) => Feed::Police,
                _ => continue,
            };
            let filed = report.filed + self.random.between(180, 1_500);
            self.push(to, incident, filed);
            if let Some(last) = self.reports.last_mut() {
                last.relation = Relation::HandedOver;
            }
        }
    }

    /// Says which report of the incident was the first, and what the others are to it.
    fn relate(&mut self, start: usize) {
        let reports = &mut self.reports[start..];
        reports.sort_by_key(|report| (report.filed, report.feed));
        let Some(&first) = reports.first() else { return };
        let mut seen = [false; 5];
        for report in reports {
            let is_first = (report.feed, report.id) == (first.feed, first.id);
            report.first = (!is_first).then_some((first.feed, first.id));
            if is_first {
                report.relation = Relation::First;
            } else if report.relation != Relation::HandedOver {
                report.relation = if seen[report.feed as usize] {
                    Relation::Repeat
                } else {
                    Relation::OtherChannel
                };
            }
            seen[report.feed as usize] = true;
        }
    }

    fn without_incident(&mut self) {
        let scale = self.world.options.scale;
        let fire = kind_of("safety.fire");
        let rubbish = kind_of("environment.rubbish");
        let made_up = gaming::self_made_reports(&self.world.calendar, self.day);
        for (feed, class, kind, mean) in [
            (Feed::Hotline, Class::Consult, kind_of("dispute.wage"), CONSULTS),
            (Feed::Hotline, Class::Test, rubbish, TESTS),
            (Feed::Police, Class::Invalid, rubbish, INVALID),
            (Feed::Police, Class::NotPolice, kind_of("dispute.consumer"), NOT_POLICE),
            (Feed::Police, Class::Help, kind_of("dispute.neighbour"), HELP),
            (Feed::Device, Class::FalseAlarm, fire, FALSE_ALARMS),
            (Feed::Grid, Class::SelfMade, rubbish, made_up),
        ] {
            for _ in 0..self.random.poisson(mean * scale) {
                let second = if feed == Feed::Grid || class == Class::Test {
                    self.random.between(8 * 3_600, 18 * 3_600)
                } else {
                    KINDS[kind].second(self.random.below(1_000), self.random.below(3_600))
                };
                let filed = self.day * DAY_S + second;
                let address = self.world.book.draw(KINDS[kind].spread, &mut self.random);
                let id = self.id(feed, filed);
                self.reports.push(Report {
                    feed,
                    class,
                    incident: None,
                    plan: None,
                    kind,
                    address,
                    filed,
                    relation: Relation::First,
                    id,
                    first: None,
                });
            }
        }
    }

    /// Feed letters, date of filing, days since its own day, number: no two records share it, and no run of digits is as long as a telephone
    /// number.
    fn id(&mut self, feed: Feed, filed: u32) -> Id {
        let number = &mut self.numbers[feed as usize];
        *number += 1;
        let date = self.world.calendar.day(filed / DAY_S);
        let mut id = Id {
            bytes: [0; 24],
            length: 0,
        };
        let mut put = |bytes: &[u8]| {
            let start = usize::from(id.length);
            id.bytes[start..start + bytes.len()].copy_from_slice(bytes);
            id.length += bytes.len() as u8;
        };
        put(["DH", "J", "WG", "XF", "SB"][feed as usize].as_bytes());
        for part in [2..4, 5..7, 8..10] {
            put(&date.text[part]);
        }
        let mut digits = |mut left: u32, width: usize, letter: u8| {
            let mut text = [letter; 8];
            for digit in text[1..=width].iter_mut().rev() {
                *digit = b'0' + (left % 10) as u8;
                left /= 10;
            }
            put(&text[..=width]);
        };
        digits(filed / DAY_S - self.day, 2, b'K');
        digits(*number, 6, b'N');
        id
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::SimulationOptions;
    use crate::incident::incidents_of;

    #[test]
    fn ids_are_unique_over_days_and_each_incident_has_one_first_report() {
        let options = SimulationOptions {
            days: 8,
            ..SimulationOptions::default()
        };
        let world = World::invent(options, 8);
        let mut ids = BTreeSet::new();
        for day in 0..8 {
            let mut firsts = BTreeSet::new();
            for report in reports_of(&world, day, &incidents_of(&world, day)) {
                assert!(
                    ids.insert(report.id.as_str().to_owned()),
                    "{} stands twice",
                    report.id.as_str()
                );
                if let Some(incident) = report.incident {
                    let is_first = report.first.is_none();
                    assert_eq!(is_first, report.relation == Relation::First);
                    assert!(!is_first || firsts.insert(incident));
                }
            }
        }
        assert!(ids.len() > 30_000);
    }
}
