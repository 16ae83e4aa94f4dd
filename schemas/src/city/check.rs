//! What a manifest or a model must be beyond its shape. SQL is planned by the door and the engine.

use super::config::CityConfig;
use super::error::{CityError, did_you_mean};
use super::manifest::{ClockSection, FeedManifest};
use super::model::{RiskModel, Transform};
use super::yaml::position_of;
use crate::code::Code;
use crate::place::datum::Datum;
use crate::{privacy, v1};

/// Longest horizon of repeats: a hundred years.
const DEDUPE_DAYS_MAX: u32 = 36_500;

/// Problems of one file, each at the key it is about.
pub(super) struct Checker<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    pub(super) errors: &'a mut Vec<CityError>,
}

impl Checker<'_> {
    fn tell(&mut self, key: &str, problem: impl Into<String>) {
        self.errors
            .push(CityError::at(self.file, position_of(self.text, key), problem));
    }

    fn word<C: Code>(&mut self, key: &str, word: &str) {
        if C::from_word(word).is_none() {
            let known: Vec<&str> = C::ALL.iter().map(|(_, word)| *word).collect();
            let hint = did_you_mean(word, known.iter().copied());
            self.tell(
                key,
                format!("unknown word \"{word}\"{hint} (there are: {})", known.join(", ")),
            );
        }
    }

    fn name(&mut self, key: &str, name: &str) {
        let plain = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_';
        if name.is_empty() || !name.chars().all(plain) {
            self.tell(key, format!("\"{name}\" must be lower-case letters, digits and _"));
        }
        let stem = self
            .file
            .rsplit('/')
            .next()
            .and_then(|file| file.strip_suffix(".yaml"))
            .unwrap_or_default();
        if self.file.contains('/') && stem != name {
            self.tell(key, format!("\"{name}\" must be the file's name \"{stem}\""));
        }
    }

    fn datum(&mut self, key: &str, datum: &str) {
        if let Err(error) = datum.parse::<Datum>() {
            self.tell(key, error.to_string());
        }
    }

    fn zone(&mut self, key: &str, zone: &str) {
        if jiff::tz::TimeZone::get(zone).is_err() {
            self.tell(
                key,
                format!("unknown time zone \"{zone}\"; write an IANA name such as Asia/Shanghai"),
            );
        }
    }

    fn admitted(&mut self, key: &str, name: &str) {
        if let Some(kind) = privacy::forbidden_kind(name) {
            self.tell(
                key,
                format!("\"{name}\" is never admitted: it is a {kind}; shiyu knows places, not people"),
            );
        }
    }

    pub(super) fn city(&mut self, config: &CityConfig) {
        self.name("city", &config.city);
        self.zone("zone", &config.zone);
        let [south, west, north, east] = config.bounds;
        if !(south < north && west < east && south >= -90.0 && north <= 90.0 && west >= -180.0 && east <= 180.0) {
            self.tell(
                "bounds",
                "bounds are [south, west, north, east] in degrees, south < north and west < east",
            );
        }
        for layer in &config.areas {
            if let Some(datum) = &layer.datum {
                self.datum("areas", datum);
            }
            if let Some(parent) = &layer.parent_level
                && !config.areas.iter().any(|other| other.level == *parent)
            {
                self.tell(
                    "areas",
                    format!("level \"{}\" has the unknown parent level \"{parent}\"", layer.level),
                );
            }
        }
    }

    pub(super) fn feed(&mut self, manifest: &FeedManifest) {
        self.name("feed", &manifest.feed);
        self.word::<v1::Channel>("channel", &manifest.channel);
        self.word::<v1::Origin>("origin", &manifest.origin);
        for (index, column) in manifest.record.columns.iter().enumerate() {
            for name in std::iter::once(&column.name).chain(&column.also) {
                self.admitted("record.columns", name);
                let twice = manifest.record.columns[..index]
                    .iter()
                    .any(|other| other.name == *name || other.also.contains(name));
                if twice {
                    self.tell("record.columns", format!("column \"{name}\" stands twice"));
                }
            }
        }
        for name in manifest.map.attributes.keys() {
            self.admitted(&format!("map.attributes.{name}"), name);
        }
        self.horizon(manifest);
        let map = &manifest.map;
        let clocks = [
            ("occurred_at", Some(&map.occurred_at)),
            ("reported_at", map.reported_at.as_ref()),
            ("updated_at", map.updated_at.as_ref()),
            ("closed_at", map.closed_at.as_ref()),
            ("due_at", map.due_at.as_ref()),
        ];
        for (name, clock) in clocks {
            if let Some(clock) = clock {
                self.clock(&format!("map.{name}"), clock);
            }
        }
        if let Some(status) = &map.status {
            for (word, state) in &status.words {
                self.word::<v1::CaseState>(&format!("map.status.words.{word}"), state);
            }
        }
        if let Some(place) = &map.place {
            self.datum("map.place.datum", &place.datum);
            self.word::<v1::PlacePrecision>("map.place.precision", &place.precision);
        }
    }

    fn horizon(&mut self, manifest: &FeedManifest) {
        let Some(days) = manifest.dedupe_days else { return };
        let hours = u64::from(days) * 24;
        if !(1..=DEDUPE_DAYS_MAX).contains(&days) {
            self.tell(
                "dedupe_days",
                format!(
                    "dedupe_days is {days}, it must be 1 to {DEDUPE_DAYS_MAX}; leave it out to know records for ever"
                ),
            );
        } else if hours < u64::from(manifest.lateness_hours) {
            self.tell(
                "dedupe_days",
                format!(
                    "dedupe_days is {days} ({hours} hours), less than lateness_hours ({}): a late record would be taken for a repeat",
                    manifest.lateness_hours
                ),
            );
        }
        if manifest.map.status.is_none() && manifest.map.closed_at.is_none() {
            self.tell(
                "dedupe_days",
                "dedupe_days counts from the end of a case, and this feed tells of none: give map.status or map.closed_at",
            );
        }
    }

    fn clock(&mut self, key: &str, clock: &ClockSection) {
        if let Some(zone) = &clock.zone {
            self.zone(&format!("{key}.zone"), zone);
        }
        for date in &clock.junk {
            if date.parse::<jiff::civil::Date>().is_err() {
                self.tell(
                    &format!("{key}.junk"),
                    format!("\"{date}\" is no date; write it as YYYY-MM-DD"),
                );
            }
        }
    }

    pub(super) fn model(&mut self, model: &RiskModel) {
        self.name("model", &model.model);
        if !(7..=9).contains(&model.resolution) {
            self.tell("resolution", "resolution must be 7 to 9");
        }
        if model.factors.is_empty() {
            self.tell("factors", "a model needs at least one factor");
        }
        if !model.levels.windows(2).all(|pair| pair[0] < pair[1]) {
            self.tell("levels", "levels must rise: [blue, yellow, orange, red]");
        }
        for factor in &model.factors {
            let told = |problem: &str| format!("factor \"{}\": {problem}", factor.factor);
            if !(factor.weight > 0.0 && factor.weight.is_finite()) {
                self.tell("factors", told("weight must be above 0"));
            }
            if !(1..=3660).contains(&factor.window_days) {
                self.tell("factors", told("window_days must be 1 to 3660"));
            }
            let sane = match &factor.transform {
                Transform::Rate {
                    exposure,
                    full_percentile,
                } => ["area_km2", "cell"].contains(&exposure.as_str()) && (0.0..=100.0).contains(full_percentile),
                Transform::Trend {
                    baseline_windows,
                    prior_count,
                    full,
                } => *baseline_windows > 0 && *prior_count > 0.0 && *full > 1.0,
                Transform::Share { prior_count, full, .. } => *prior_count >= 0.0 && *full > 0.0,
                Transform::Linear { full } => *full > 0.0,
            };
            if !sane {
                self.tell(
                    "factors",
                    told("its transform cannot work; see the doc comments of the model's format"),
                );
            }
        }
    }
}
