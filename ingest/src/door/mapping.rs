//! A manifest's mapping, planned: which expression gives which field of the event.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, SchemaRef};
use shiyu_schemas::city::manifest::{ClockSection, FeedManifest};
use shiyu_schemas::privacy::forbidden_kind;
use shiyu_schemas::time::Clock;

use super::Problem;
use super::place::Locator;
use super::sql::{Expression, Planner, record_schema};
use super::words::StatusWords;

/// A clock of the source: its text and how to read it.
pub(super) struct ClockField {
    pub(super) text: Expression,
    pub(super) clock: Clock,
}

/// Coordinates and how to read them.
pub(super) struct PlaceField {
    pub(super) x: Expression,
    pub(super) y: Expression,
    pub(super) locator: Locator,
}

/// All expressions of a manifest.
pub(super) struct Mapping {
    pub(super) schema: SchemaRef,
    pub(super) filter: Option<Expression>,
    pub(super) id: Expression,
    pub(super) version: Option<Expression>,
    pub(super) kind: Option<Expression>,
    pub(super) origin: Option<Expression>,
    pub(super) occurred_at: ClockField,
    /// reported, updated, closed, due.
    pub(super) optional_clocks: [Option<ClockField>; 4],
    pub(super) category: Expression,
    pub(super) status: Option<(Expression, StatusWords)>,
    pub(super) severity: Option<Expression>,
    pub(super) holder: Option<Expression>,
    pub(super) place: Option<PlaceField>,
    pub(super) address: Option<Expression>,
    pub(super) text: Option<Expression>,
    pub(super) attributes: Vec<(String, Expression)>,
    pub(super) match_key: Option<Expression>,
}

/// Collects problems, so that one run tells all of them.
struct Compiler<'a> {
    planner: &'a Planner,
    zone: &'a str,
    problems: Vec<Problem>,
}

impl Compiler<'_> {
    fn note<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.problems.push(problem)).ok()
    }

    fn plan(&mut self, key: &str, sql: &str, target: DataType) -> Option<Expression> {
        let planned = self.planner.plan(key, sql, target);
        self.note(planned)
    }

    fn optional(&mut self, key: &str, sql: Option<&String>, target: DataType) -> Option<Expression> {
        self.plan(key, sql?, target)
    }

    fn clock(&mut self, key: &str, section: &ClockSection) -> Option<ClockField> {
        let text = self.plan(&format!("{key}.sql"), &section.sql, DataType::Utf8);
        let clock = Clock::compile(section, self.zone).map_err(|message| Problem::new(key, message));
        let clock = self.note(clock);
        Some(ClockField {
            text: text?,
            clock: clock?,
        })
    }

    fn place(&mut self, manifest: &FeedManifest, bounds: [f64; 4]) -> Option<PlaceField> {
        let section = manifest.map.place.as_ref()?;
        let x = self.plan("map.place.x", &section.x, DataType::Utf8);
        let y = self.plan("map.place.y", &section.y, DataType::Utf8);
        let locator = self.note(Locator::compile(section, bounds));
        Some(PlaceField {
            x: x?,
            y: y?,
            locator: locator?,
        })
    }

    fn attributes(&mut self, attributes: &BTreeMap<String, String>) -> Vec<(String, Expression)> {
        let mut planned = Vec::new();
        for (name, sql) in attributes {
            let key = format!("map.attributes.{name}");
            if let Some(kind) = forbidden_kind(name) {
                self.problems
                    .push(Problem::new(&key, format!("{kind} is never admitted")));
            } else if let Some(expression) = self.plan(&key, sql, DataType::Utf8) {
                planned.push((name.clone(), expression));
            }
        }
        planned
    }
}

impl Mapping {
    /// Plans everything, or tells everything that is wrong.
    pub(super) fn compile(manifest: &FeedManifest, zone: &str, bounds: [f64; 4]) -> Result<Self, Vec<Problem>> {
        let schema = record_schema(&manifest.record);
        let planner = Planner::new(schema.clone()).map_err(|problem| vec![problem])?;
        let mut compiler = Compiler {
            planner: &planner,
            zone,
            problems: Vec::new(),
        };
        for column in &manifest.record.columns {
            if let Some(kind) = forbidden_kind(&column.name) {
                let message = format!("column \"{}\": {kind} is never admitted", column.name);
                compiler.problems.push(Problem::new("record.columns", message));
            }
        }
        let map = &manifest.map;
        let filter = compiler.optional("map.where", map.filter.as_ref(), DataType::Boolean);
        let id = compiler.plan("map.id", &map.id, DataType::Utf8);
        let version = compiler.optional("map.version", map.version.as_ref(), DataType::Int64);
        let kind = compiler.optional("map.kind", map.kind.as_ref(), DataType::Utf8);
        let origin = compiler.optional("map.origin", map.origin.as_ref(), DataType::Utf8);
        let occurred_at = compiler.clock("map.occurred_at", &map.occurred_at);
        let optional_clocks = [
            ("map.reported_at", &map.reported_at),
            ("map.updated_at", &map.updated_at),
            ("map.closed_at", &map.closed_at),
            ("map.due_at", &map.due_at),
        ]
        .map(|(key, section)| section.as_ref().and_then(|section| compiler.clock(key, section)));
        let category = compiler.plan("map.category", &map.category, DataType::Utf8);
        let status = map.status.as_ref().and_then(|status| {
            let text = compiler.plan("map.status.sql", &status.sql, DataType::Utf8);
            let words = compiler.note(StatusWords::compile(status.words.iter()));
            Some((text?, words?))
        });
        let severity = compiler.optional("map.severity", map.severity.as_ref(), DataType::Int64);
        let holder = compiler.optional("map.holder", map.holder.as_ref(), DataType::Utf8);
        let place = compiler.place(manifest, bounds);
        let address = compiler.optional("map.address", map.address.as_ref(), DataType::Utf8);
        let text = compiler.optional("map.text", map.text.as_ref(), DataType::Utf8);
        let attributes = compiler.attributes(&map.attributes);
        let match_key = manifest
            .withdrawal
            .as_ref()
            .and_then(|rule| compiler.plan("withdrawal.match_key", &rule.match_key, DataType::Utf8));
        if let (true, Some(id), Some(occurred_at), Some(category)) =
            (compiler.problems.is_empty(), id, occurred_at, category)
        {
            return Ok(Self {
                schema,
                filter,
                id,
                version,
                kind,
                origin,
                occurred_at,
                optional_clocks,
                category,
                status,
                severity,
                holder,
                place,
                address,
                text,
                attributes,
                match_key,
            });
        }
        Err(compiler.problems)
    }
}
