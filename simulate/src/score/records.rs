//! Which records became cases, and the two beside each other.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use arrow::array::{Array as _, RecordBatch};

use super::read::{Reader, text_at, truth_table};
use super::{Report, ScoreError, percent};

/// A case as the hub has it.
#[derive(Debug, Clone)]
pub(super) struct HubCase {
    pub(super) category: String,
    pub(super) state: String,
    pub(super) place: Option<(f64, f64)>,
    pub(super) closed_us: Option<i64>,
    pub(super) holder: Option<String>,
}

/// A record as it truly is.
#[derive(Debug, Clone)]
pub(super) struct TrueRecord {
    pub(super) feed: String,
    pub(super) id: String,
    pub(super) class: String,
    pub(super) incident: Option<i64>,
    pub(super) category: Option<String>,
    pub(super) said_category: String,
    pub(super) place: (f64, f64),
    pub(super) is_located: bool,
    pub(super) has_wrong_datum: bool,
    pub(super) state: String,
    pub(super) closed_us: Option<i64>,
    pub(super) holders: String,
    pub(super) gamed: String,
}

impl TrueRecord {
    /// Whether the feed's own filter is there to leave it out.
    pub(super) fn is_to_leave_out(&self) -> bool {
        matches!(self.class.as_str(), "test" | "invalid")
    }

    pub(super) fn key(&self) -> String {
        key(&self.feed, &self.id)
    }
}

/// Truth and hub beside each other.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) truth: Vec<TrueRecord>,
    pub(super) cases: HashMap<String, HubCase>,
}

impl Joined {
    /// Records that should be cases, with their case.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&TrueRecord, &HubCase)> {
        self.truth
            .iter()
            .filter(|record| !record.is_to_leave_out())
            .filter_map(|record| Some((record, self.cases.get(&record.key())?)))
    }

    /// Names of the feeds.
    pub(super) fn feeds(&self) -> Vec<&str> {
        let mut feeds: Vec<&str> = self.truth.iter().map(|record| record.feed.as_str()).collect();
        feeds.sort_unstable();
        feeds.dedup();
        feeds
    }
}

/// What names a record over all feeds.
pub(super) fn key(feed: &str, id: &str) -> String {
    format!("{feed}:{id}")
}

/// Reads both sides.
pub(super) fn join(truth: &Path, cases: &[RecordBatch]) -> Result<Joined, ScoreError> {
    let mut hub = HashMap::new();
    for batch in cases {
        let reader = Reader { table: "cases", batch };
        let (feeds, ids) = (reader.texts("feed")?, reader.texts("record_id")?);
        let (categories, states) = (reader.texts("category")?, reader.texts("state")?);
        let (lats, lngs) = (reader.reals("lat")?, reader.reals("lng")?);
        let (closed, holders) = (reader.times("closed_at")?, reader.texts("holder")?);
        for row in 0..batch.num_rows() {
            let place = (lats.is_valid(row) && lngs.is_valid(row)).then(|| (lats.value(row), lngs.value(row)));
            let case = HubCase {
                category: categories.value(row).to_owned(),
                state: states.value(row).to_owned(),
                place,
                closed_us: closed.is_valid(row).then(|| closed.value(row)),
                holder: text_at(&holders, row).map(str::to_owned),
            };
            hub.insert(key(feeds.value(row), ids.value(row)), case);
        }
    }
    Ok(Joined {
        truth: true_records(truth)?,
        cases: hub,
    })
}

fn true_records(truth: &Path) -> Result<Vec<TrueRecord>, ScoreError> {
    const COLUMNS: [&str; 15] = [
        "feed",
        "record_id",
        "class",
        "incident",
        "category",
        "said_category",
        "lat",
        "lng",
        "located",
        "datum_declared",
        "datum_true",
        "state",
        "closed_at",
        "holders",
        "gamed",
    ];
    let mut records = Vec::new();
    for batch in truth_table(truth, "records", &COLUMNS)? {
        let reader = Reader {
            table: "records",
            batch: &batch,
        };
        let text = |name| reader.texts(name);
        let (feeds, ids, classes) = (text("feed")?, text("record_id")?, text("class")?);
        let (categories, said) = (text("category")?, text("said_category")?);
        let (declared, datums) = (text("datum_declared")?, text("datum_true")?);
        let (states, holders, gamed) = (text("state")?, text("holders")?, text("gamed")?);
        let (lats, lngs) = (reader.reals("lat")?, reader.reals("lng")?);
        let (incidents, closed) = (reader.wholes("incident")?, reader.times("closed_at")?);
        let located = reader.truths("located")?;
        for row in 0..batch.num_rows() {
            records.push(TrueRecord {
                feed: feeds.value(row).to_owned(),
                id: ids.value(row).to_owned(),
                class: classes.value(row).to_owned(),
                incident: incidents.is_valid(row).then(|| incidents.value(row)),
                category: text_at(&categories, row).map(str::to_owned),
                said_category: said.value(row).to_owned(),
                place: (lats.value(row), lngs.value(row)),
                is_located: located.value(row),
                has_wrong_datum: declared.value(row) != datums.value(row),
                state: states.value(row).to_owned(),
                closed_us: closed.is_valid(row).then(|| closed.value(row)),
                holders: holders.value(row).to_owned(),
                gamed: gamed.value(row).to_owned(),
            });
        }
    }
    Ok(records)
}

/// Counts what is there, what is missing, what should not be.
pub(super) fn report(joined: &Joined, report: &mut Report) {
    let mut known = 0;
    for feed in joined.feeds() {
        let records = || joined.truth.iter().filter(|record| record.feed == feed);
        let wanted = records().filter(|record| !record.is_to_leave_out()).count() as u64;
        let found = joined.pairs().filter(|(record, _)| record.feed == feed).count() as u64;
        report.line(
            "records",
            "records that are cases",
            feed,
            percent(found, wanted),
            wanted,
            "",
        );
        let unwanted: Vec<_> = records().filter(|record| record.is_to_leave_out()).collect();
        let standing = unwanted
            .iter()
            .filter(|record| joined.cases.contains_key(&record.key()))
            .count() as u64;
        known += found + standing;
        if !unwanted.is_empty() {
            let note = "test orders and invalid calls";
            report.line(
                "records",
                "unwanted records that are cases",
                feed,
                standing.to_string(),
                unwanted.len() as u64,
                note,
            );
        }
    }
    let extra = joined.cases.len() as u64 - known;
    let note = "cases that no record of the truth names; records that were sent again must make none";
    report.line(
        "records",
        "cases without a true record",
        "all",
        extra.to_string(),
        joined.cases.len() as u64,
        note,
    );
    let mut gamed: BTreeMap<&str, u64> = BTreeMap::new();
    for record in joined.truth.iter().filter(|record| record.gamed != "no") {
        *gamed.entry(&record.gamed).or_default() += 1;
    }
    for (how, count) in gamed {
        let note = "the hub does not look for it yet";
        report.line(
            "gaming",
            &format!("played with: {how}"),
            "all",
            "0 found".to_owned(),
            count,
            note,
        );
    }
}
