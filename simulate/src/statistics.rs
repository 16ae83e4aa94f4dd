//! What a run came out with, beside what the sources say. A figure without a source says so; none is hidden because it is off.

use crate::calendar::DAY_S;
use crate::channel::{CaseText, flag};
use crate::gaming::Gamed;
use crate::kind::{KINDS, PoliceClass};
use crate::life::{HOTLINE_CENTRE, Life, State};
use crate::report::{Class, FEEDS, Feed, Relation, Report};
use crate::world::World;

/// Counts of a run; sums of the counts of its days.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Rows written, by feed.
    pub rows: [u64; 5],
    /// Rows in files that were sent again.
    pub sent_again: u64,
    /// Records, by feed.
    pub records: [u64; 5],
    /// Incidents.
    pub incidents: u64,
    /// Orders about a matter (no questions, no tests).
    matters: u64,
    /// Of these: the incident was in an earlier order, from the same address.
    repeats: u64,
    dispatched: u64,
    cross_department: u64,
    done: u64,
    done_seconds: u64,
    overdue: u64,
    returned: u64,
    asked: u64,
    satisfied: u64,
    month_end: u64,
    gamed: u64,
    /// Calls by traffic, crime and order, not the police's, invalid, other.
    calls: [u64; 5],
    to_hotline: u64,
    to_police: u64,
    patrol_reports: u64,
    patrol_closed: u64,
    late_rows: u64,
    flags: [u64; 9],
    wrong_category: u64,
    tests: u64,
    changes: u64,
}

/// One line of the page.
#[derive(Debug, Clone, PartialEq)]
pub struct StatisticLine {
    /// What is measured.
    pub parameter: &'static str,
    /// What the run came out with.
    pub simulated: String,
    /// The source's figure; empty where there is none.
    pub source: &'static str,
    /// S sourced, M measured by us, G general knowledge, unverified; empty: chosen by us.
    pub mark: &'static str,
    /// Where the source's figure is from, or why it differs.
    pub from: &'static str,
}

impl Statistics {
    /// Nothing counted.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds another day's counts.
    pub fn add(&mut self, other: &Self) {
        for (sum, part) in [
            (&mut self.rows[..], &other.rows[..]),
            (&mut self.records[..], &other.records[..]),
            (&mut self.calls[..], &other.calls[..]),
            (&mut self.flags[..], &other.flags[..]),
        ] {
            sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        for (sum, part) in [
            (&mut self.sent_again, other.sent_again),
            (&mut self.incidents, other.incidents),
            (&mut self.matters, other.matters),
            (&mut self.repeats, other.repeats),
            (&mut self.dispatched, other.dispatched),
            (&mut self.cross_department, other.cross_department),
            (&mut self.done, other.done),
            (&mut self.done_seconds, other.done_seconds),
            (&mut self.overdue, other.overdue),
            (&mut self.returned, other.returned),
            (&mut self.asked, other.asked),
            (&mut self.satisfied, other.satisfied),
            (&mut self.month_end, other.month_end),
            (&mut self.gamed, other.gamed),
            (&mut self.to_hotline, other.to_hotline),
            (&mut self.to_police, other.to_police),
            (&mut self.patrol_reports, other.patrol_reports),
            (&mut self.patrol_closed, other.patrol_closed),
            (&mut self.late_rows, other.late_rows),
            (&mut self.wrong_category, other.wrong_category),
            (&mut self.tests, other.tests),
            (&mut self.changes, other.changes),
        ] {
            *sum += part;
        }
    }

    /// Counts a record of which `written` rows are delivered within the run.
    pub fn count(&mut self, world: &World, report: &Report, life: &Life, text: &CaseText, written: u64) {
        if written == 0 {
            return;
        }
        self.records[report.feed as usize] += 1;
        self.changes += written;
        self.gamed += u64::from(life.gamed != Gamed::No);
        self.wrong_category += u64::from(usize::from(life.changes[0].said) != report.kind);
        self.late_rows += life.changes.iter().filter(|change| change.late_days > 0).count() as u64;
        for (bit, count) in self.flags.iter_mut().enumerate() {
            *count += u64::from(text.flags & (1 << bit) != 0);
        }
        match report.feed {
            Feed::Hotline => self.count_order(world, report, life),
            Feed::Police => {
                self.to_police += u64::from(report.relation == Relation::HandedOver);
                let class = match (report.class, KINDS[report.kind].class) {
                    (Class::Invalid, _) => 3,
                    (Class::NotPolice, _) => 2,
                    (Class::Real, PoliceClass::Traffic) => 0,
                    (Class::Real, PoliceClass::Crime) => 1,
                    _ => 4,
                };
                self.calls[class] += 1;
            }
            Feed::Grid => {
                self.patrol_reports += 1;
                let is_closed = life.changes[..written as usize]
                    .iter()
                    .any(|change| change.state == State::Closed);
                self.patrol_closed += u64::from(is_closed);
            }
            Feed::Petition | Feed::Device => {}
        }
    }

    fn count_order(&mut self, world: &World, report: &Report, life: &Life) {
        if report.class == Class::Test {
            self.tests += 1;
        }
        if report.class != Class::Real {
            return;
        }
        self.matters += 1;
        self.repeats += u64::from(report.is_repeat());
        self.to_hotline += u64::from(report.relation == Relation::HandedOver);
        let first = life
            .changes
            .iter()
            .map(|change| change.holder)
            .find(|holder| *holder != HOTLINE_CENTRE);
        if let Some(first) = first {
            self.dispatched += 1;
            let others = life
                .changes
                .iter()
                .any(|change| change.holder != HOTLINE_CENTRE && change.holder != first);
            self.cross_department += u64::from(others);
        }
        self.returned += u64::from(life.changes.iter().any(|change| change.state == State::Returned));
        if let Some(done) = life.changes.iter().find(|change| change.state == State::Resolved) {
            self.done += 1;
            self.done_seconds += u64::from(done.at - report.filed);
            self.overdue += u64::from(life.overdue);
            let day = done.at / DAY_S;
            self.month_end += u64::from(world.calendar.last_working_day_of_month(day) == day);
        }
        if let Some(asked) = life.changes.iter().find(|change| change.state == State::Evaluated) {
            self.asked += 1;
            self.satisfied += u64::from(asked.satisfaction == 1);
        }
    }

    /// All rows, without those sent again.
    pub fn all_rows(&self) -> u64 {
        self.rows.iter().sum()
    }

    /// The page.
    pub fn page(&self, world: &World) -> Vec<StatisticLine> {
        let days = u64::from(world.options.days);
        let mut lines = self.sizes(world);
        let calls: u64 = self.calls.iter().sum();
        let monthly = |count: u64| {
            let people = 3.2 * world.options.scale;
            format!(
                "{:.1} per million people and 30 days",
                count as f64 * 30.0 / days as f64 / people
            )
        };
        let line = |parameter, simulated, source, mark, from| StatisticLine {
            parameter,
            simulated,
            source,
            mark,
            from,
        };
        lines.extend([
            line(
                "orders that repeat one from the same address",
                share(self.repeats, self.matters),
                "19 %",
                "S",
                "fire orders of one county, 2024 (thearxiv.net 2025/47); orders about a matter, same incident",
            ),
            line(
                "orders that see more than one department",
                share(self.cross_department, self.dispatched),
                "42 %",
                "S",
                "the same",
            ),
            line(
                "mean days until an order is called done",
                days_of(self.done_seconds, self.done),
                "3",
                "S",
                "the same; orders not done within the run count with the day they will be",
            ),
            line(
                "110 calls: traffic",
                share(self.calls[0], calls),
                "about 30 %",
                "S",
                "Guangzhou 2015, 16,000 calls a day (lumingtang.cn 4334)",
            ),
            line(
                "110 calls: crime and public order",
                share(self.calls[1], calls),
                "about 10 %",
                "S",
                "the same",
            ),
            line(
                "110 calls: not the police's",
                share(self.calls[2], calls),
                "about 20 %",
                "S",
                "the same",
            ),
            line(
                "110 calls: invalid",
                share(self.calls[3], calls),
                "about 30 %",
                "S",
                "the same",
            ),
            line(
                "110 calls: other",
                share(self.calls[4], calls),
                "about 10 %",
                "S",
                "the same",
            ),
            line(
                "handed from 110 to 12345",
                monthly(self.to_hotline),
                "1,120 in the first month",
                "S",
                "Xi'an (sxzf.gov.cn 137792); 86 per million if it has 13 million people [G]",
            ),
            line(
                "handed from 12345 to 110",
                monthly(self.to_police),
                "99 in the first month",
                "S",
                "the same; 7.6 per million [G]",
            ),
            line(
                "hotline records a day",
                format!("{:.0}", self.records[0] as f64 / days as f64),
                "2,636 calls a day",
                "S",
                "Changzhou 2021: 962,151 calls; calls, not orders, in another city's size",
            ),
            line(
                "patrol reports closed within the run",
                share(self.patrol_closed, self.patrol_reports),
                "99.74 %",
                "S",
                "Taiyuan: 67,478 of 67,657; a run's last reports are still open",
            ),
            line(
                "orders late beyond their limit",
                share(self.overdue, self.done),
                "",
                "",
                "chosen",
            ),
            line(
                "orders sent back at least once",
                share(self.returned, self.dispatched),
                "",
                "",
                "chosen",
            ),
            line(
                "orders called done on a month's last working day",
                share(self.month_end, self.done),
                "",
                "",
                "chosen; an even spread is about 4.8 %",
            ),
            line(
                "citizens asked who are satisfied",
                share(self.satisfied, self.asked),
                "",
                "",
                "chosen",
            ),
            line(
                "records that somebody played with",
                share(self.gamed, self.records.iter().sum()),
                "",
                "",
                "chosen",
            ),
            line(
                "records first filed under a wrong category",
                share(self.wrong_category, self.records.iter().sum()),
                "",
                "",
                "chosen",
            ),
            line(
                "rows that come one day or more late",
                share(self.late_rows, self.changes),
                "",
                "",
                "chosen",
            ),
            line(
                "rows sent again",
                share(self.sent_again, self.all_rows()),
                "",
                "",
                "chosen",
            ),
            line("test orders", share(self.tests, self.records[0]), "", "", "chosen"),
        ]);
        for (word, count) in flag::WORDS.iter().zip(self.flags) {
            let parameter = match *word {
                "typo" => "orders whose address has a typing error",
                "pinyin" => "orders whose address has pinyin in brackets",
                "no_place" => "records without coordinates",
                "default_point" => "orders with the city hall's coordinates",
                "wrong_datum" => "records whose datum is not the declared one",
                "corrected" => "records whose category is corrected",
                "late" => "records with a late row",
                "alias" => "orders with an alias for the place",
                _ => "records with personal data in text (invented)",
            };
            let of_orders = parameter.starts_with("orders");
            let whole = if of_orders {
                self.records[0]
            } else {
                self.records.iter().sum()
            };
            lines.push(line(parameter, share(count, whole), "", "", "chosen"));
        }
        lines
    }

    fn sizes(&self, world: &World) -> Vec<StatisticLine> {
        let towns = world.land.towns.iter().map(|town| town.propensity);
        let (low, high) = (towns.clone().min().unwrap_or(1), towns.max().unwrap_or(1));
        let offsets: f64 = world
            .book
            .addresses
            .iter()
            .map(|address| libm::sqrt(address.place.square_metres_to(address.gcj)))
            .sum();
        let line = |parameter, simulated, source, mark, from| StatisticLine {
            parameter,
            simulated,
            source,
            mark,
            from,
        };
        let mut lines: Vec<StatisticLine> = FEEDS
            .iter()
            .map(|feed| {
                let parameter = match feed {
                    Feed::Hotline => "rows (records): hotline",
                    Feed::Police => "rows (records): police",
                    Feed::Grid => "rows (records): grid",
                    Feed::Petition => "rows (records): petition",
                    Feed::Device => "rows (records): device",
                };
                let index = *feed as usize;
                line(
                    parameter,
                    format!("{} ({})", self.rows[index], self.records[index]),
                    "",
                    "",
                    "",
                )
            })
            .collect();
        lines.push(line(
            "incidents, reported or not",
            self.incidents.to_string(),
            "",
            "",
            "",
        ));
        lines.push(line(
            "grids",
            world.options.grids.to_string(),
            "9,375",
            "S",
            "Taiyuan; --grids 9375 gives as many",
        ));
        lines.push(line(
            "reporting propensity, highest town over lowest",
            format!("{:.1}", f64::from(high) / f64::from(low)),
            "",
            "",
            "chosen",
        ));
        lines.push(line(
            "mean metres between WGS84 and GCJ-02",
            format!("{:.0}", offsets / world.book.addresses.len() as f64),
            "332 to 619",
            "M",
            "eight places, 4,000 points each",
        ));
        lines
    }
}

fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "none".to_owned();
    }
    format!("{:.2} %", part as f64 * 100.0 / whole as f64)
}

fn days_of(seconds: u64, count: u64) -> String {
    if count == 0 {
        return "none".to_owned();
    }
    format!("{:.2}", seconds as f64 / count as f64 / f64::from(DAY_S))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::SimulationOptions;
    use crate::day::make_day;

    #[test]
    fn parameters_with_a_source_come_out_near_it() {
        let options = SimulationOptions {
            days: 16,
            ..SimulationOptions::default()
        };
        let world = World::invent(options, 16);
        let mut sums = Statistics::new();
        // Cases are followed to their end, so that the last days weigh like the first.
        (0..16).for_each(|day| sums.add(&make_day(&world, day, 400).unwrap().statistics));
        let share = |part: u64, whole: u64| part as f64 / whole as f64;
        let near = |what: &str, found: f64, source: f64, slack: f64| {
            assert!((found - source).abs() < slack, "{what}: {found} for {source}");
        };
        near("repeats", share(sums.repeats, sums.matters), 0.19, 0.03);
        near(
            "cross-department",
            share(sums.cross_department, sums.dispatched),
            0.42,
            0.03,
        );
        near("days", share(sums.done_seconds, sums.done) / f64::from(DAY_S), 3.0, 0.7);
        let calls: u64 = sums.calls.iter().sum();
        for (index, source) in [0.3, 0.1, 0.2, 0.3, 0.1].into_iter().enumerate() {
            near("calls", share(sums.calls[index], calls), source, 0.03);
        }
        let monthly = |count: u64| count as f64 * 30.0 / 16.0 / 3.2;
        near("110 to 12345", monthly(sums.to_hotline), 86.0, 25.0);
        near("12345 to 110", monthly(sums.to_police), 7.6, 5.0);
    }
}
