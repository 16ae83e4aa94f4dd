//! Rows that are folded and durable, but not in the tables yet, for those who ask questions meanwhile.
//!
//! Whoever reads takes these first and `snapshot.json` second, and leaves out the epochs the snapshot has: an epoch leaves this only after
//! a snapshot with it is published, so every epoch is seen in one of the two, and none in both.

use std::collections::{BTreeMap, HashSet};
use std::io::Cursor;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use prost::Message as _;

use super::writer::EpochRows;

/// The rows that wait for the tables, epoch by epoch in the order they came.
#[derive(Debug, Clone, Default)]
pub struct NewestRows(Arc<Mutex<Vec<EpochRows>>>);

impl NewestRows {
    /// Adds an epoch.
    pub fn add(&self, rows: EpochRows) {
        self.lock().push(rows);
    }

    /// Takes epochs away: a snapshot that has them is published.
    pub fn remove<'a>(&self, epochs: impl IntoIterator<Item = &'a EpochRows>) {
        let gone: HashSet<_> = epochs.into_iter().map(|rows| &rows.mark).collect();
        self.lock().retain(|rows| !gone.contains(&rows.mark));
    }

    /// The epochs beyond those of `known` (partition to epoch). Only the first `bytes_max` bytes of all that waits are told, so that it
    /// costs nobody more memory than that: of every partition what comes first.
    pub fn since(&self, known: &BTreeMap<String, u64>, bytes_max: usize) -> Vec<EpochRows> {
        let mut bytes = 0;
        self.lock()
            .iter()
            .take_while(|rows| {
                let tables = rows.rows.iter();
                bytes += tables.map(|(_, batch)| batch.get_array_memory_size()).sum::<usize>();
                bytes <= bytes_max
            })
            .filter(|rows| {
                known
                    .get(&rows.mark.partition)
                    .is_none_or(|known| rows.mark.epoch > *known)
            })
            .cloned()
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<EpochRows>> {
        // A list is whole between any two of its changes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What somebody in another process asks: the rows beyond what it knows.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Question {
    /// Stands in the answer.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// Newest epoch known, by partition.
    #[prost(btree_map = "string, uint64", tag = "2")]
    pub known: BTreeMap<String, u64>,
}

/// Rows of the epochs somebody asked for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Answer {
    /// Of the question.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// By table.
    #[prost(message, repeated, tag = "2")]
    tables: Vec<AnswerTable>,
}

/// Rows of one table, as one Arrow IPC stream with a batch per epoch.
#[derive(Clone, PartialEq, prost::Message)]
struct AnswerTable {
    #[prost(string, tag = "1")]
    table: String,
    /// Whose each batch is.
    #[prost(message, repeated, tag = "2")]
    epochs: Vec<AnswerEpoch>,
    #[prost(bytes = "vec", tag = "3")]
    stream: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnswerEpoch {
    #[prost(string, tag = "1")]
    partition: String,
    #[prost(uint64, tag = "2")]
    epoch: u64,
}

/// Rows of one table and one epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRows {
    /// The table.
    pub table: String,
    /// Partition of the fold, e.g. `events-0`.
    pub partition: String,
    /// The epoch.
    pub epoch: u64,
    /// The rows, in the columns of the table; texts may be views.
    pub rows: RecordBatch,
}

impl Answer {
    /// Writes rows for another process.
    pub fn new(number: u64, epochs: &[EpochRows]) -> Result<Self, ArrowError> {
        let mut by_table: BTreeMap<&str, Vec<(AnswerEpoch, &RecordBatch)>> = BTreeMap::new();
        for EpochRows { mark, rows } in epochs {
            for (table, batch) in rows {
                let epoch = AnswerEpoch {
                    partition: mark.partition.clone(),
                    epoch: mark.epoch,
                };
                by_table.entry(table).or_default().push((epoch, batch));
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
        Ok(Self {
            number,
            tables: tables.collect::<Result<_, ArrowError>>()?,
        })
    }

    /// Reads them.
    pub fn rows(self) -> Result<Vec<TableRows>, ArrowError> {
        let mut all = Vec::new();
        for AnswerTable { table, epochs, stream } in self.tables {
            let batches = StreamReader::try_new(Cursor::new(stream), None)?;
            for (AnswerEpoch { partition, epoch }, rows) in epochs.into_iter().zip(batches) {
                all.push(TableRows {
                    table: table.clone(),
                    partition,
                    epoch,
                    rows: rows?,
                });
            }
        }
        Ok(all)
    }

    /// As bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

/// Batches of one table, without the comments of its columns: whoever reads knows them.
fn stream_of(batches: &[&RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let Some(first) = batches.first() else {
        return Ok(Vec::new());
    };
    let schema = first.schema();
    let fields = schema.fields().iter();
    let fields = fields.map(|field| Field::new(field.name(), field.data_type().clone(), field.is_nullable()));
    let plain = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut writer = StreamWriter::try_new(Vec::new(), &plain)?;
    for batch in batches {
        writer.write(&RecordBatch::try_new(plain.clone(), batch.columns().to_vec())?)?;
    }
    writer.into_inner()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use arrow::array::AsArray as _;
    use arrow::compute::cast;
    use arrow::datatypes::DataType;

    use super::super::writer::tests::epoch;
    use super::*;

    fn sources(answer: Vec<TableRows>) -> Vec<(u64, String)> {
        answer
            .into_iter()
            .map(|rows| {
                assert_eq!(
                    (rows.table.as_str(), rows.partition.as_str()),
                    ("rejections", "rejections-0")
                );
                let text = cast(rows.rows.column(1), &DataType::Utf8).unwrap();
                (rows.epoch, text.as_string::<i32>().value(0).to_owned())
            })
            .collect()
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
        let ask = |known: Option<u64>, bytes_max| {
            let known = known.map(|epoch| ("rejections-0".to_owned(), epoch));
            let answer = Answer::new(7, &waiting.since(&known.into_iter().collect(), bytes_max)).unwrap();
            let answer = Answer::decode(answer.to_bytes().as_slice()).unwrap();
            assert_eq!(answer.number, 7);
            sources(answer.rows().unwrap())
        };
        let all: Vec<_> = (1..).zip(texts.map(str::to_owned)).collect();
        assert_eq!(ask(None, usize::MAX), all);
        assert_eq!(ask(Some(1), usize::MAX), all[1..]);
        assert_eq!(ask(Some(3), usize::MAX), []);
        let of_one = waiting.since(&BTreeMap::new(), usize::MAX)[0].rows[0]
            .1
            .get_array_memory_size();
        assert_eq!(ask(None, of_one), all[..1], "what comes first fits");
        assert_eq!(ask(Some(1), of_one), [], "what is known takes room too");
        waiting.remove(&[epoch(1, ""), epoch(2, "")]);
        assert_eq!(ask(None, usize::MAX), all[2..]);
    }
}
