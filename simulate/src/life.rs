//! The life of a case: the six-step closed loop with returns, transfers, ping-pong, extensions, reopening, satisfaction. How departments
//! play with it stands in [`crate::gaming`].

use crate::calendar::{Calendar, DAY_S};
use crate::gaming::{self, Gamed};
use crate::kind::{KINDS, Kind};
use crate::random::Random;
use crate::report::{Class, Feed, Report};

/// Departments. 0 is the hotline's own centre, 12 the town.
pub const UNITS: [&str; 13] = [
    "市12345热线中心",
    "市城市管理局",
    "市住房和城乡建设局",
    "市公安局",
    "市生态环境局",
    "云澜水务集团",
    "市人力资源和社会保障局",
    "市市场监督管理局",
    "市供电公司",
    "云澜燃气集团",
    "市交通运输局",
    "市消防救援支队",
    "属地镇街",
];
/// Index of the hotline's centre.
pub const HOTLINE_CENTRE: u8 = 0;
const POLICE: u8 = 3;
const TOWN: u8 = 12;
const HOUR_S: u32 = 3_600;

/// Where a case stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Filed.
    Filed,
    /// Verified and opened.
    Verified,
    /// Sent to a unit.
    Dispatched,
    /// The unit works on it.
    InProgress,
    /// The unit sent it back.
    Returned,
    /// Sent to another unit.
    Transferred,
    /// The time limit was extended.
    Extended,
    /// Set aside; the clock stands.
    Suspended,
    /// The unit says it is done.
    Resolved,
    /// Closed.
    Closed,
    /// The citizen was asked.
    Evaluated,
    /// Opened again.
    Reopened,
    /// Marked as the same matter as another.
    Duplicate,
    /// Taken back by the citizen.
    Withdrawn,
}

impl State {
    /// The word in the truth tables.
    pub fn word(self) -> &'static str {
        [
            "filed",
            "verified",
            "dispatched",
            "in_progress",
            "returned",
            "transferred",
            "extended",
            "suspended",
            "resolved",
            "closed",
            "evaluated",
            "reopened",
            "duplicate",
            "withdrawn",
        ][self as usize]
    }
}

/// One change of a case, and the row a department writes for it.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// When, seconds since the first day's midnight.
    pub at: u32,
    /// State after it.
    pub state: State,
    /// Index of the unit that holds it.
    pub holder: u8,
    /// Index of the kind the department calls it.
    pub said: u8,
    /// When it was done, as the department writes it; 0 = not written.
    pub ended: u32,
    /// When it is due; 0 = no limit.
    pub due: u32,
    /// 0 not asked, 1 satisfied, 2 not.
    pub satisfaction: u8,
    /// Days its row comes late.
    pub late_days: u32,
}

/// A case's life. Reused from case to case.
#[derive(Debug)]
pub struct Life {
    /// Changes in order of time.
    pub changes: Vec<Change>,
    /// How the department played with it.
    pub gamed: Gamed,
    /// Whether it was done behind its limit.
    pub overdue: bool,
    /// Least seconds between two changes: what the department's clock can tell apart.
    grain: u32,
}

impl Life {
    /// An empty life.
    pub fn new() -> Self {
        Self {
            changes: Vec::with_capacity(16),
            gamed: Gamed::No,
            overdue: false,
            grain: 1,
        }
    }

    fn begin(&mut self, report: &Report, said: u8, holder: u8, grain: u32) {
        self.changes.clear();
        self.gamed = Gamed::No;
        self.overdue = false;
        self.grain = grain;
        self.changes.push(Change {
            at: report.filed / grain * grain,
            state: State::Filed,
            holder,
            said,
            ended: 0,
            due: 0,
            satisfaction: 0,
            late_days: 0,
        });
    }

    /// The newest change.
    pub fn last(&self) -> Change {
        self.changes[self.changes.len() - 1]
    }

    /// Adds a change, at the earliest one grain behind the newest.
    fn then(&mut self, at: u32, state: State, holder: u8) -> &mut Change {
        let last = self.last();
        let at = (at / self.grain * self.grain).max(last.at + self.grain);
        self.changes.push(Change {
            at,
            state,
            holder,
            ..last
        });
        self.changes.last_mut().expect("it was pushed")
    }
}

impl Default for Life {
    fn default() -> Self {
        Self::new()
    }
}

/// Lives a report's case.
pub fn live(life: &mut Life, calendar: &Calendar, report: &Report, random: &mut Random) {
    let kind = &KINDS[report.kind];
    let said = said_kind(report, random);
    match report.feed {
        Feed::Hotline => order(life, calendar, report, kind, said, random),
        Feed::Police => call(life, report, said, random),
        Feed::Grid => patrol(life, calendar, report, kind, said, random),
        Feed::Petition => petition(life, report, kind, said, random),
        Feed::Device => device(life, report, said, random),
    }
    // Some rows come late, some much later than what follows them.
    for change in &mut life.changes {
        if random.chance(6) {
            change.late_days = random.between(1, 15);
        }
    }
}

/// The kind a department takes a matter for: now and then a neighbour of the right one.
fn said_kind(report: &Report, random: &mut Random) -> u8 {
    let wrong = match report.feed {
        Feed::Hotline => 60,
        Feed::Police => 35,
        Feed::Grid => 20,
        Feed::Petition => 50,
        Feed::Device => 0,
    };
    if !random.chance(wrong) {
        return report.kind as u8;
    }
    let other = if random.chance(500) {
        report.kind + 1
    } else {
        report.kind + KINDS.len() - 1
    };
    (other % KINDS.len()) as u8
}

fn order(life: &mut Life, calendar: &Calendar, report: &Report, kind: &Kind, said: u8, random: &mut Random) {
    life.begin(report, said, HOTLINE_CENTRE, 1);
    let at = report.filed;
    match report.class {
        Class::Consult => {
            let at = at + random.between(120, 1_500);
            life.then(at, State::Closed, HOTLINE_CENTRE).ended = at;
            return;
        }
        Class::Test => {
            life.then(at + random.between(60, 3_600), State::Withdrawn, HOTLINE_CENTRE);
            return;
        }
        _ => {}
    }
    if report.is_repeat() && random.chance(300) {
        life.then(at + random.between(300, 6 * HOUR_S), State::Duplicate, HOTLINE_CENTRE);
        return;
    }
    let at = at + random.between(600, 4 * HOUR_S);
    let limit = calendar.after_working_days(at / DAY_S, 3 + u32::from(kind.unit % 3) * 2) * DAY_S + 63_000;
    life.then(at, State::Dispatched, kind.unit).due = limit;
    if random.chance(10) {
        life.then(at + random.between(600, 20 * HOUR_S), State::Withdrawn, HOTLINE_CENTRE);
        return;
    }
    pass_around(life, kind, random);
    let at = life.last().at + random.between(1_800, 12 * HOUR_S);
    life.then(at, State::InProgress, life.last().holder);
    correct(life, report, random);
    if random.chance(90) {
        let last = life.last();
        let due = calendar.after_working_days(last.due / DAY_S, 5) * DAY_S + 63_000;
        life.then(
            last.at + random.between(HOUR_S, 30 * HOUR_S),
            State::Extended,
            last.holder,
        )
        .due = due;
    }
    let last = life.last();
    let done = office_hours(calendar, last.at + random.waiting(29 * HOUR_S), random);
    gaming::resolve(life, calendar, done, random);
    evaluate(life, calendar, random);
}

/// Returns and transfers: about 42 % of orders see a second department, some go back and forth.
fn pass_around(life: &mut Life, kind: &Kind, random: &mut Random) {
    if random.chance(120) {
        let rounds = if random.chance(200) { random.between(2, 5) } else { 1 };
        for round in 0..rounds {
            let at = life.last().at + random.between(HOUR_S, 20 * HOUR_S);
            life.then(at, State::Returned, HOTLINE_CENTRE);
            let holder = if round % 2 == 0 { kind.second } else { kind.unit };
            life.then(at + random.between(1_800, 6 * HOUR_S), State::Transferred, holder);
        }
    } else if random.chance(340) {
        let at = life.last().at + random.between(HOUR_S, 10 * HOUR_S);
        life.then(at, State::Transferred, kind.second);
    }
}

/// A wrong category is noticed, half of the time, and put right.
fn correct(life: &mut Life, report: &Report, random: &mut Random) {
    let last = life.last();
    if report.incident.is_some() && usize::from(last.said) != report.kind && random.chance(500) {
        let at = last.at + random.between(600, 5 * HOUR_S);
        life.then(at, last.state, last.holder).said = report.kind as u8;
    }
}

fn evaluate(life: &mut Life, calendar: &Calendar, random: &mut Random) {
    let last = life.last();
    if !random.chance(850) {
        let at = office_hours(calendar, last.at + random.between(DAY_S, 3 * DAY_S), random);
        life.then(at, State::Closed, last.holder);
        return;
    }
    let is_content = random.chance(if life.gamed == Gamed::No { 890 } else { 450 });
    let at = office_hours(calendar, last.at + random.between(20 * HOUR_S, 3 * DAY_S), random);
    life.then(at, State::Evaluated, last.holder).satisfaction = if is_content { 1 } else { 2 };
    if !is_content && random.chance(400) {
        let at = life.last().at + random.between(HOUR_S, DAY_S);
        life.then(at, State::Reopened, HOTLINE_CENTRE).ended = 0;
        life.then(at + random.between(HOUR_S, 8 * HOUR_S), State::InProgress, last.holder);
        let done = office_hours(calendar, at + DAY_S / 2 + random.waiting(2 * DAY_S), random);
        let change = life.then(done, State::Resolved, last.holder);
        change.ended = change.at;
        change.satisfaction = 0;
    }
    let at = life.last().at + random.between(HOUR_S, 20 * HOUR_S);
    life.then(at, State::Closed, last.holder);
}

/// The same moment where offices work, else in the next working day's hours.
pub(crate) fn office_hours(calendar: &Calendar, at: u32, random: &mut Random) -> u32 {
    let day = at / DAY_S;
    let (opens, closes) = (8 * HOUR_S + 1_800, 18 * HOUR_S);
    let within = at % DAY_S;
    if calendar.day(day).kind.is_worked() && within < closes {
        return day * DAY_S + within.max(opens + random.below(HOUR_S));
    }
    calendar.after_working_days(day, 1) * DAY_S + random.between(opens, opens + 4 * HOUR_S)
}

fn call(life: &mut Life, report: &Report, said: u8, random: &mut Random) {
    life.begin(report, said, POLICE, 60);
    let at = report.filed;
    match report.class {
        Class::Invalid => {
            let change = life.then(at + 60, State::Closed, POLICE);
            change.ended = change.at;
        }
        Class::NotPolice => {
            life.then(at + random.between(120, 900), State::Transferred, HOTLINE_CENTRE);
        }
        _ => {
            let at = at + 480 + random.waiting(3_000);
            life.then(at, State::InProgress, POLICE);
            correct(life, report, random);
            let at = life.last().at + 600 + random.waiting(5 * HOUR_S);
            let change = life.then(at, State::Closed, POLICE);
            change.ended = change.at;
        }
    }
}

fn patrol(life: &mut Life, calendar: &Calendar, report: &Report, kind: &Kind, said: u8, random: &mut Random) {
    life.begin(report, said, TOWN, 1);
    let at = report.filed;
    if report.class == Class::SelfMade {
        gaming::self_made(life, random);
        return;
    }
    if random.chance(380) {
        // Put right on the spot.
        let change = life.then(at + random.between(600, 2 * HOUR_S), State::Closed, TOWN);
        change.ended = change.at;
        return;
    }
    life.then(at + random.between(900, 3 * HOUR_S), State::Verified, TOWN);
    let at = life.last().at + random.between(600, 2 * HOUR_S);
    let due = calendar.after_working_days(at / DAY_S, 2) * DAY_S + 63_000;
    life.then(at, State::Dispatched, kind.unit).due = due;
    if random.chance(70) {
        let at = life.last().at + random.between(HOUR_S, 10 * HOUR_S);
        life.then(at, State::Returned, TOWN);
        life.then(at + random.between(HOUR_S, 5 * HOUR_S), State::Dispatched, kind.second);
    }
    let last = life.last();
    life.then(
        last.at + random.between(1_800, 8 * HOUR_S),
        State::InProgress,
        last.holder,
    );
    correct(life, report, random);
    let done = office_hours(calendar, life.last().at + random.waiting(18 * HOUR_S), random);
    gaming::resolve(life, calendar, done, random);
    let at = office_hours(calendar, life.last().at + random.between(HOUR_S, 30 * HOUR_S), random);
    life.then(at, State::Closed, TOWN);
    if random.chance(300) {
        life.then(at + random.between(DAY_S, 4 * DAY_S), State::Evaluated, TOWN);
    }
}

fn petition(life: &mut Life, report: &Report, kind: &Kind, said: u8, random: &mut Random) {
    life.begin(report, said, TOWN, DAY_S);
    let at = report.filed;
    life.changes[0].due = at + 60 * DAY_S;
    life.then(at + random.between(1, 11) * DAY_S, State::Dispatched, kind.unit);
    if random.chance(60) {
        let last = life.last();
        life.then(last.at + 40 * DAY_S, State::Extended, kind.unit).due = last.due + 30 * DAY_S;
    }
    let at = life.last().at + random.between(8, 52) * DAY_S;
    let change = life.then(at, State::Resolved, kind.unit);
    change.ended = change.at;
    life.overdue = change.at > change.due;
}

fn device(life: &mut Life, report: &Report, said: u8, random: &mut Random) {
    life.begin(report, said, report.unit_of_device(), 1);
    let lasts = match KINDS[report.kind].code {
        "safety.fire" => 120 + random.waiting(900),
        "road.logging" => 1_800 + random.waiting(4 * HOUR_S),
        "road.manhole" => 3_600 + random.waiting(20 * HOUR_S),
        _ => 1_800 + random.waiting(8 * HOUR_S),
    };
    let change = life.then(report.filed + lasts, State::Closed, report.unit_of_device());
    change.ended = change.at;
}

impl Life {
    /// Adds a change; for [`crate::gaming`].
    pub(crate) fn add(&mut self, at: u32, state: State, holder: u8) -> &mut Change {
        self.then(at, state, holder)
    }
}
