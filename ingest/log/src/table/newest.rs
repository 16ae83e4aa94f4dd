//! Rows that are folded and durable, but not in the tables yet, for those who ask questions meanwhile.
//!
//! Whoever reads takes these first and `snapshot.json` second, and adds to what the snapshot has the epochs that follow it without a gap: an
//! epoch leaves this only after a snapshot with it is published, so every epoch is seen in one of the two, and none in both. Where another
//! process goes on with a partition and ends its epochs elsewhere, none of these follows, and only the tables count.

use std::collections::{BTreeMap, HashSet};
use std::io::Cursor;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;

use super::writer::EpochRows;

/// The epochs that wait for the tables, in the order they came.
#[derive(Debug, Clone, Default)]
pub struct NewestRows(Arc<Mutex<Vec<EpochRows>>>);

impl NewestRows {
    /// Adds an epoch, also one without rows.
    pub fn add(&self, rows: EpochRows) {
        self.lock().push(rows);
    }

    /// Takes epochs away: a snapshot that has them is published.
    pub fn remove<'a>(&self, epochs: impl IntoIterator<Item = &'a EpochRows>) {
        let gone: HashSet<_> = epochs.into_iter().map(|rows| &rows.mark).collect();
        self.lock().retain(|rows| !gone.contains(&rows.mark));
    }

    /// The epochs beyond those of `known` (partition to epoch), and whether these are all: the first that take about `bytes_max` bytes, at least
    /// one. Rows are shared, not copied.
    pub fn since(&self, known: &BTreeMap<String, u64>, bytes_max: usize) -> (Vec<EpochRows>, bool) {
        let is_new = |rows: &&EpochRows| {
            let known = known.get(&rows.mark.partition);
            known.is_none_or(|known| rows.mark.epoch > *known)
        };
        let waiting = self.lock();
        let mut new = waiting.iter().filter(is_new).peekable();
        let (mut first, mut bytes) = (Vec::new(), 0);
        while let Some(rows) = new.next_if(|_| first.is_empty() || bytes < bytes_max) {
            let tables = rows.rows.iter();
            bytes += tables.map(|(_, batch)| batch.get_array_memory_size()).sum::<usize>();
            first.push(rows.clone());
        }
        (first, new.peek().is_none())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<EpochRows>> {
        // A list is whole between any two of its changes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What somebody in another process asks: the epochs beyond what it knows.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Question {
    /// Stands in the answer.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// Newest epoch known, by partition.
    #[prost(btree_map = "string, uint64", tag = "2")]
    pub known: BTreeMap<String, u64>,
}

/// The epochs somebody asked for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Answer {
    /// Of the question.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// In the order they came.
    #[prost(message, repeated, tag = "2")]
    epochs: Vec<AnswerEpoch>,
    /// Their rows, by table.
    #[prost(message, repeated, tag = "3")]
    tables: Vec<AnswerTable>,
    /// Whether there are more of them.
    #[prost(bool, tag = "4")]
    pub has_more: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnswerEpoch {
    #[prost(string, tag = "1")]
    partition: String,
    #[prost(uint64, tag = "2")]
    after: u64,
    #[prost(uint64, tag = "3")]
    epoch: u64,
}

/// Rows of one table, as one Arrow IPC stream.
#[derive(Clone, PartialEq, prost::Message)]
struct AnswerTable {
    #[prost(string, tag = "1")]
    table: String,
    /// Which epoch each batch is of: its place among those of the answer.
    #[prost(uint32, repeated, tag = "2")]
    epochs: Vec<u32>,
    #[prost(bytes = "bytes", tag = "3")]
    stream: Bytes,
}

/// An epoch somebody is told of.
#[derive(Debug, Clone, PartialEq)]
pub struct ToldEpoch {
    /// Partition of the fold, e.g. `events-0`.
    pub partition: String,
    /// Number of the epoch before it.
    pub after: u64,
    /// Its number.
    pub epoch: u64,
    /// Rows by table, in the columns of the table.
    pub rows: Vec<(String, RecordBatch)>,
}

impl Answer {
    /// Writes epochs for another process.
    pub fn new(number: u64, epochs: &[EpochRows], has_more: bool) -> Result<Self, ArrowError> {
        let mut by_table: BTreeMap<&str, Vec<(u32, &RecordBatch)>> = BTreeMap::new();
        for (place, epoch) in (0..).zip(epochs) {
            for (table, batch) in &epoch.rows {
                by_table.entry(table).or_default().push((place, batch));
            }
        }
        let tables = by_table.into_iter().map(|(table, batches)| {
            let (epochs, batches): (Vec<_>, Vec<_>) = batches.into_iter().unzip();
            Ok(AnswerTable {
                table: table.to_owned(),
                epochs,
                stream: stream_of(&batches)?,
            })
        });
        let told = epochs.iter().map(|EpochRows { mark, after, .. }| AnswerEpoch {
            partition: mark.partition.clone(),
            after: *after,
            epoch: mark.epoch,
        });
        Ok(Self {
            number,
            epochs: told.collect(),
            tables: tables.collect::<Result<_, ArrowError>>()?,
            has_more,
        })
    }

    /// An answer that tells nothing.
    pub fn empty(number: u64) -> Self {
        Self {
            number,
            ..Self::default()
        }
    }

    /// Reads them.
    pub fn epochs(self) -> Result<Vec<ToldEpoch>, ArrowError> {
        let told = self.epochs.into_iter().map(|epoch| ToldEpoch {
            partition: epoch.partition,
            after: epoch.after,
            epoch: epoch.epoch,
            rows: Vec::new(),
        });
        let mut told: Vec<ToldEpoch> = told.collect();
        for AnswerTable { table, epochs, stream } in self.tables {
            let mut batches = StreamReader::try_new(Cursor::new(stream), None)?;
            for place in epochs {
                let (Some(rows), Some(epoch)) = (batches.next(), told.get_mut(place as usize)) else {
                    return Err(ArrowError::IpcError(format!("rows of \"{table}\" are missing")));
                };
                epoch.rows.push((table.clone(), rows?));
            }
        }
        Ok(told)
    }
}

/// Batches of one table, without the comments of its columns: whoever reads knows them. Texts are written as the table has them: views
/// would carry along all that stands beside them.
fn stream_of(batches: &[&RecordBatch]) -> Result<Bytes, ArrowError> {
    let Some(first) = batches.first() else {
        return Ok(Bytes::new());
    };
    let schema = first.schema();
    let fields = schema.fields().iter();
    let fields = fields.map(|field| {
        let kind = match field.data_type() {
            DataType::Utf8View => DataType::Utf8,
            other => other.clone(),
        };
        Field::new(field.name(), kind, field.is_nullable())
    });
    let plain = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut writer = StreamWriter::try_new(Vec::new(), &plain)?;
    for batch in batches {
        let columns = batch.columns().iter().zip(plain.fields());
        let columns = columns.map(|(column, field)| cast(column, field.data_type()));
        writer.write(&RecordBatch::try_new(
            plain.clone(),
            columns.collect::<Result<_, _>>()?,
        )?)?;
    }
    writer.into_inner().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use arrow::array::AsArray as _;
    use prost::Message as _;

    use super::super::writer::tests::epoch;
    use super::*;

    fn sources(answer: Vec<ToldEpoch>) -> Vec<(u64, String)> {
        let told = answer.into_iter().map(|told| {
            assert_eq!((told.partition.as_str(), told.after), ("rejections-0", told.epoch - 1));
            let texts = told.rows.iter().map(|(table, rows)| {
                assert_eq!(table, "rejections");
                rows.column(1).as_string::<i32>().value(0).to_owned()
            });
            (told.epoch, texts.collect())
        });
        told.collect()
    }

    fn as_views(mut rows: EpochRows) -> EpochRows {
        for (_, batch) in &mut rows.rows {
            let schema = shiyu_schemas::table::REJECTIONS.row_schema();
            let columns = batch.columns().iter().zip(schema.fields());
            let columns = columns.map(|(column, field)| cast(column, field.data_type()).unwrap());
            *batch = RecordBatch::try_new(schema.clone(), columns.collect()).unwrap();
        }
        rows
    }

    #[test]
    fn what_waits_is_told_once_and_until_the_tables_have_it() {
        let waiting = NewestRows::default();
        let texts = ["short", "a text that does not stand in its view", ""];
        for (number, text) in (1..).zip(texts) {
            waiting.add(as_views(epoch(number, text)));
        }
        waiting.add(EpochRows {
            rows: Vec::new(),
            ..epoch(4, "")
        });
        let ask_for = |known: Option<u64>, bytes_max| {
            let known = known.map(|epoch| ("rejections-0".to_owned(), epoch));
            let (epochs, is_all) = waiting.since(&known.into_iter().collect(), bytes_max);
            let answer = Answer::new(7, &epochs, !is_all).unwrap();
            let answer = Answer::decode(answer.encode_to_vec().as_slice()).unwrap();
            assert_eq!((answer.number, answer.has_more), (7, !is_all));
            (sources(answer.epochs().unwrap()), is_all)
        };
        let ask = |known| {
            let (told, is_all) = ask_for(known, usize::MAX);
            assert!(is_all);
            told
        };
        let mut all: Vec<_> = (1..).zip(texts.map(str::to_owned)).collect();
        all.push((4, String::new()));
        assert_eq!(ask(None), all);
        assert_eq!(ask(Some(1)), all[1..]);
        assert_eq!(ask(Some(4)), []);
        assert_eq!(ask_for(None, 1), (all[..1].to_vec(), false), "one at least");
        assert_eq!(ask_for(Some(3), 1), (all[3..].to_vec(), true));
        waiting.remove(&[epoch(1, ""), epoch(2, "")]);
        assert_eq!(ask(None), all[2..]);
    }
}
