//! A feed's manifest, `feeds/<name>.yaml`: how one department's records become events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One feed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedManifest {
    /// Name of the feed: lower-case letters, digits, `_`; equal to the file's name.
    pub feed: String,
    /// What people call it.
    pub title: String,
    /// The department that owns the records.
    pub department: String,
    /// Channel the records came through: hotline, police, petition, grid, device, other.
    pub channel: String,
    /// Who noticed: citizen, patrol, device, department. Mandatory: what people report and what patrols find must never be mixed unseen.
    /// Where a feed mixes them, `map.origin` tells them apart per record; this one holds where that is NULL.
    pub origin: String,
    /// How records get in.
    pub connector: ConnectorSection,
    /// The columns of the batch `record`.
    pub record: RecordSection,
    /// SQL from record to event.
    pub map: MapSection,
    /// Rule by which a correction row cancels another record. Absent = the feed has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawal: Option<WithdrawalSection>,
    /// Hours by which a new record may lie behind the newest one of its feed before it is marked late. A late record is counted all the
    /// same; its window may have been told already.
    #[serde(default = "lateness_hours")]
    pub lateness_hours: u32,
    /// Days for which a record is still known after its case has ended, counted by the feed's own newest time: the horizon of repeats.
    /// Behind it the record's state goes from the disk, and a record that nobody knows and that was reported (else happened) before it is
    /// `stale`: kept in `events`, not counted, no case. So load a feed's history from old to new. 1 to 36500. Absent = for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedupe_days: Option<u32>,
    /// Name of the category tree in `categories/`; its crosswalk file is `<tree>.<feed>.csv`. Default: the city's tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<String>,
}

fn lateness_hours() -> u32 {
    72
}

/// Which connector reads the feed, and its own settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectorSection {
    /// Name in the connector registry, e.g. `file`.
    pub kind: String,
    /// Settings of that connector; checked by it.
    #[serde(default)]
    pub with: serde_json::Value,
}

/// The columns of `record`: all text, as the department has them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordSection {
    /// Columns the mapping may use. Columns of the source that are not here are left out and counted.
    pub columns: Vec<ColumnSection>,
    /// Texts that mean "no value", compared after trimming; the empty text always does.
    #[serde(default)]
    pub nulls: Vec<String>,
}

/// One column of `record`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnSection {
    /// Name in SQL.
    pub name: String,
    /// Other names the source's headers have for it (other header shapes, later versions).
    #[serde(default)]
    pub also: Vec<String>,
    /// True where some header shapes lack it; then it is NULL. A source without a column that is not optional is refused.
    #[serde(default)]
    pub optional: bool,
}

impl ColumnSection {
    /// Whether a source's own word means this column.
    pub fn is_named(&self, word: &str) -> bool {
        self.name == word || self.also.iter().any(|other| other == word)
    }
}

/// SQL expressions over `record` (projection and filter only), planned when the city folder is loaded.
///
/// Beside the manifest's columns, `record` has `_file` (text, the source's file name), `_row` (bigint, row in the source, 1-based).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapSection {
    /// What names the record within the feed (text). NULL or empty → rejected `missing_id`. An id that points at a person (a phone number,
    /// a name) is replaced by a pseudonym under a key of the data folder, flagged `pseudonym`.
    pub id: String,
    /// Source version (bigint): a greater one is newer. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Rows for which this is not true are `excluded`.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// `upsert` (default), `withdraw` or `cancel` (text).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Who noticed this record (text): citizen, patrol, device, department. NULL = the feed's `origin`; another word → rejected `bad_value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// When it happened. Mandatory.
    pub occurred_at: ClockSection,
    /// When it was reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_at: Option<ClockSection>,
    /// When the source changed the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<ClockSection>,
    /// When the case ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<ClockSection>,
    /// When the case is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<ClockSection>,
    /// The department's own category code or name (text); the crosswalk turns it into the city's.
    pub category: String,
    /// The department's own status word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<StatusSection>,
    /// Severity 1..5 (bigint). Default: the category's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// The unit that holds the case (text).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// Where. Absent = the feed has no coordinates: precision `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<PlaceSection>,
    /// Address (text); scrubbed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Free text (text); scrubbed, stays in the log, no table shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Further values to keep, name → SQL (text); scrubbed; names of forbidden fields are refused.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// A clock of the source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockSection {
    /// Text of the clock, or a SQL expression that gives it.
    pub sql: String,
    /// Formats tried in turn, strftime style (`%m/%d/%Y %H:%M`, `%Y-%m-%d`, `%m/%d/%Y %I:%M:%S %p`, `%B-%Y`); digits may lack zero padding.
    /// The finest field present gives the precision. A format with `%z` or a trailing `Z` carries its own offset.
    pub formats: Vec<String>,
    /// IANA zone of the clock. Default: the city's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Local dates (YYYY-MM-DD) that mean nothing: such a record is rejected `junk_date` (in an optional clock: the clock is absent).
    #[serde(default)]
    pub junk: Vec<String>,
    /// A local time that never was: `shift` forward (default, flagged `shifted_time`) or `reject`.
    #[serde(default)]
    pub gap: GapRule,
    /// A local time that was twice: `earlier` (default) or `later`; flagged `ambiguous_time`.
    #[serde(default)]
    pub double: DoubleRule,
}

/// What to do with a local time that never was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapRule {
    /// Shift forward by the gap.
    #[default]
    Shift,
    /// Reject the record.
    Reject,
}

/// Which of two instants a double local time means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubleRule {
    /// The first.
    #[default]
    Earlier,
    /// The second.
    Later,
}

/// The status word and what its values mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusSection {
    /// SQL expression of the word (text).
    pub sql: String,
    /// Word → state (filed, verified, dispatched, in_progress, returned, transferred, extended, suspended, resolved, closed, evaluated,
    /// reopened, duplicate, withdrawn). Words that are neither here nor in the table of standard terms are `filed`, flagged `unknown_status`.
    #[serde(default)]
    pub words: BTreeMap<String, String>,
}

/// Coordinates and how to read them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceSection {
    /// Longitude or easting (text or number).
    pub x: String,
    /// Latitude or northing (text or number).
    pub y: String,
    /// wgs84, gcj02, bd09, cgcs2000, EPSG:n, ESRI:n, or a proj string.
    pub datum: String,
    /// How precise located records are: exact, block, area_centre.
    #[serde(default = "exact")]
    pub precision: String,
    /// Points `[x, y]` that mean "not located" (city hall, 0,0 is always one): precision none, flagged `default_point`.
    #[serde(default)]
    pub default_points: Vec<[f64; 2]>,
    /// Located records outside `city.bounds`: `unlocated` (default: precision none, flagged `outside_city`) or `reject`.
    #[serde(default)]
    pub outside: OutsideRule,
}

fn exact() -> String {
    "exact".to_owned()
}

/// What to do with a place outside the city's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutsideRule {
    /// Keep the record without a place.
    #[default]
    Unlocated,
    /// Reject the record.
    Reject,
}

/// A correction row (`map.kind` = `cancel`) cancels one other record of the same key; it waits for it if that comes later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithdrawalSection {
    /// SQL expression of the key both rows share (text). Personal data in it is replaced like that in `map.id`.
    pub match_key: String,
}
