//! One Delta table: its files, its commits, the epochs it has.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use deltalake::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Add, DataType, MetadataValue, PrimitiveType, StructField, Transaction};
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaTable, DeltaTableBuilder, DeltaTableError, ObjectStore};
use object_store::ObjectStoreExt as _;
use parquet::errors::ParquetError;
use shiyu_schemas::table::{Column, ColumnType, TableShape};
use tokio::task::JoinHandle;

use super::checkpoint;
use super::file::{self, TableFile};
use super::store::SyncedFileSystem;
use super::upkeep::{Upkeep, UpkeepOptions};
use super::writer::EpochRows;
use crate::vfs::{RealVfs, Vfs as _};
use crate::{LogError, fault};

/// A checkpoint of the Delta log every so many commits.
const CHECKPOINT_COMMITS: u64 = 40;
/// A time no file is younger than, milliseconds since 1970: the clean-up of the Delta log goes by versions, never by the clock.
const ANY_TIME: i64 = 253_402_300_799_000;

#[derive(Debug)]
pub(super) struct Table {
    pub(super) shape: &'static TableShape,
    pub(super) delta: DeltaTable,
    pub(super) care: Upkeep,
    /// Newest epoch per `<partition>/<incarnation>`, and generation per `owner/<partition>`.
    pub(super) applied: BTreeMap<String, u64>,
    files: u64,
}

type EncodedFiles = JoinHandle<Result<Vec<TableFile>, ParquetError>>;

/// Rows of one table, on their way to files.
pub(super) struct Encoding {
    files: EncodedFiles,
    /// Newest epoch per application.
    newest: BTreeMap<String, u64>,
}

/// A process that was killed may have left a commit whose name only the page cache holds; nothing may be trimmed because of it.
pub(super) fn sync_commits(folder: &Path) -> Result<(), LogError> {
    let commits = folder.join("_delta_log");
    File::open(&commits)
        .and_then(|commits| commits.sync_all())
        .map_err(|source| LogError::io("sync", &commits, source))
}

fn encode(shape: &'static TableShape, batches: Vec<RecordBatch>) -> EncodedFiles {
    tokio::task::spawn_blocking(move || file::encode(shape, &batches))
}

pub(super) fn application(partition: &str, incarnation: u64) -> String {
    format!("{partition}/{incarnation:016x}")
}

/// Why a commit did not come about.
#[derive(Debug)]
pub(super) enum CommitFailure {
    Delta(DeltaTableError),
    Log(LogError),
}

impl From<DeltaTableError> for CommitFailure {
    fn from(error: DeltaTableError) -> Self {
        Self::Delta(error)
    }
}

impl From<LogError> for CommitFailure {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

impl Table {
    pub(super) async fn open(
        root: &Path,
        shape: &'static TableShape,
        store: &Arc<SyncedFileSystem>,
    ) -> Result<Self, LogError> {
        let failed = |error| table_error("open", shape, error);
        let folder = root.join(shape.name);
        RealVfs
            .create_folder(&folder)
            .map_err(|source| LogError::unwritten("make", &folder, source))?;
        let url = deltalake::ensure_table_uri(folder.to_string_lossy()).map_err(failed)?;
        let builder = DeltaTableBuilder::from_url(url.clone())
            .map_err(failed)?
            .with_storage_backend(store.clone() as Arc<dyn ObjectStore>, url);
        let mut delta = builder.build().map_err(failed)?;
        if delta.verify_deltatable_existence().await.map_err(failed)? {
            sync_commits(&folder)?;
            delta.load().await.map_err(failed)?;
        } else {
            delta = create(shape, &delta).await.map_err(failed)?;
        }
        check_columns(shape, &delta, root)?;
        let applied = applied_epochs(root, shape, &delta).await?;
        Ok(Self {
            shape,
            delta,
            care: Upkeep::default(),
            applied,
            files: 0,
        })
    }

    /// Begins to encode the rows that the table does not have yet; none where there are none.
    pub(super) fn encode(&self, epochs: &[EpochRows]) -> Option<Encoding> {
        let (batches, newest) = self.fresh_rows(epochs);
        if batches.is_empty() {
            return None;
        }
        Some(Encoding {
            files: encode(self.shape, batches),
            newest,
        })
    }

    pub(super) async fn commit(
        &mut self,
        Encoding { files, newest }: Encoding,
        store: &SyncedFileSystem,
        upkeep: &UpkeepOptions,
    ) -> Result<(), LogError> {
        let adds = self.store_files(files, store).await?;
        self.commit_rows(adds, newest, Vec::new())
            .await
            .map_err(|error| self.not_committed(error))?;
        self.look_after_log(upkeep).await
    }

    /// Rows of this table in epochs it does not have, and the newest of these epochs per `<partition>/<incarnation>`.
    pub(super) fn fresh_rows<'a>(
        &self,
        epochs: impl IntoIterator<Item = &'a EpochRows>,
    ) -> (Vec<RecordBatch>, BTreeMap<String, u64>) {
        let mut batches = Vec::new();
        let mut newest: BTreeMap<String, u64> = BTreeMap::new();
        for EpochRows { mark, rows, .. } in epochs {
            let application = application(&mark.partition, mark.incarnation);
            if self
                .applied
                .get(&application)
                .is_some_and(|&applied| mark.epoch <= applied)
            {
                continue;
            }
            let own: Vec<&RecordBatch> = rows
                .iter()
                .filter(|(table, rows)| *table == self.shape.name && rows.num_rows() > 0)
                .map(|(_, rows)| rows)
                .collect();
            if !own.is_empty() {
                batches.extend(own.into_iter().cloned());
                let epoch = newest.entry(application).or_default();
                *epoch = mark.epoch.max(*epoch);
            }
        }
        (batches, newest)
    }

    /// One commit of files that are written, of the epochs they hold, and of other transactions.
    pub(super) async fn commit_rows(
        &mut self,
        adds: Vec<Action>,
        newest: BTreeMap<String, u64>,
        others: Vec<Transaction>,
    ) -> Result<(), CommitFailure> {
        let mut transactions = others;
        transactions.extend(
            newest.iter().map(|(application, &epoch)| {
                Transaction::new(format!("{}/{application}", self.shape.name), epoch as i64)
            }),
        );
        let operation = DeltaOperation::Write {
            mode: SaveMode::Append,
            partition_by: self.shape.partition_by.map(|column| vec![column.to_owned()]),
            predicate: None,
        };
        self.commit_actions(adds, transactions, operation).await?;
        self.applied.extend(newest);
        Ok(())
    }

    /// One commit.
    pub(super) async fn commit_actions(
        &mut self,
        actions: Vec<Action>,
        transactions: Vec<Transaction>,
        operation: DeltaOperation,
    ) -> Result<(), CommitFailure> {
        let properties = CommitProperties::default()
            .with_application_transactions(transactions)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false));
        fault::pass("table.commit")?;
        let state = self.delta.snapshot()?;
        let finalized = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(state), self.delta.log_store(), operation)
            .await?;
        self.delta.state = Some(finalized.snapshot());
        fault::pass("table.committed")?;
        Ok(())
    }

    pub(super) fn not_committed(&self, failure: CommitFailure) -> LogError {
        match failure {
            CommitFailure::Delta(error) => table_error("commit to", self.shape, error),
            CommitFailure::Log(error) => error,
        }
    }

    /// Every so often a checkpoint, behind which what lies far back of the Delta log goes.
    pub(super) async fn look_after_log(&mut self, upkeep: &UpkeepOptions) -> Result<(), LogError> {
        let failed = |error| table_error("make a checkpoint of", self.shape, error);
        let version = self.delta.version().unwrap_or_default();
        if version.is_multiple_of(CHECKPOINT_COMMITS) {
            create_checkpoint(&self.delta, None).await.map_err(failed)?;
            let log = self.delta.log_store();
            cleanup_expired_logs_for(version.saturating_sub(upkeep.log_commits), log.as_ref(), ANY_TIME, None)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    pub(super) async fn write_files(
        &mut self,
        batches: Vec<RecordBatch>,
        store: &SyncedFileSystem,
    ) -> Result<Vec<Action>, LogError> {
        let files = encode(self.shape, batches);
        self.store_files(files, store).await
    }

    async fn store_files(&mut self, files: EncodedFiles, store: &SyncedFileSystem) -> Result<Vec<Action>, LogError> {
        let shape = self.shape;
        let files = files
            .await
            .map_err(|_ended| LogError::Closed)?
            .map_err(|error| table_error("encode rows of", shape, error))?;
        let root = object_store::path::Path::from_url_path(self.delta.table_url().path())
            .map_err(|error| table_error("name a file of", shape, error))?;
        let mut adds = Vec::with_capacity(files.len());
        for TableFile { partition, bytes, rows } in files {
            let name = self.file_name(partition.as_ref());
            let size = bytes.len() as i64;
            fault::pass("table.write")?;
            let location = object_store::path::Path::from(format!("{root}/{name}"));
            store
                .put(&location, bytes.into())
                .await
                .map_err(|error| table_error("write a file of", shape, error))?;
            adds.push(Action::Add(Add {
                path: name,
                partition_values: partition
                    .map(|(column, value)| HashMap::from([(column.to_owned(), value)]))
                    .unwrap_or_default(),
                size,
                modification_time: 0,
                data_change: true,
                stats: Some(format!("{{\"numRecords\":{rows}}}")),
                ..Add::default()
            }));
        }
        Ok(adds)
    }

    /// A name no other file has: the table's next version, a running number, and the process.
    fn file_name(&mut self, partition: Option<&(&'static str, Option<String>)>) -> String {
        use std::hash::{BuildHasher as _, RandomState};
        self.files += 1;
        let version = self.delta.version().unwrap_or_default() + 1;
        let unique = RandomState::new().hash_one(self.files);
        let file = format!("part-{version:08}-{:05}-{unique:016x}.parquet", self.files);
        match partition {
            Some((column, value)) => {
                format!(
                    "{column}={}/{file}",
                    value.as_deref().unwrap_or("__HIVE_DEFAULT_PARTITION__")
                )
            }
            None => file,
        }
    }
}

/// Refuses a table in `root` whose columns are not those of its shape: an older or newer version of this program made it.
pub fn check_columns(shape: &TableShape, delta: &DeltaTable, root: &Path) -> Result<(), LogError> {
    let schema = delta
        .snapshot()
        .map_err(|error| table_error("open", shape, error))?
        .schema();
    let described = |field: &StructField| {
        let null = if field.nullable { "" } else { " not null" };
        format!("\"{}\" {}{null}", field.name, field.data_type)
    };
    let stored: Vec<String> = schema.fields().map(described).collect();
    let wanted: Vec<String> = shape.columns.iter().map(|column| described(&field(column))).collect();
    let missing = wanted.iter().find(|column| !stored.contains(column));
    let strange = stored.iter().find(|column| !wanted.contains(column));
    let problem = match (missing, strange) {
        (Some(column), _) => format!("it lacks column {column}"),
        (None, Some(column)) => format!("it has column {column}, which this version does not know"),
        (None, None) => return Ok(()),
    };
    Err(LogError::Incompatible {
        path: root.join(shape.name),
        problem: format!(
            "{problem}: another version of shiyu made it; use that one, or have state and tables made anew from the log: by `shiyu rebuild`, over Kafka in a new --data-dir and --shared folder"
        ),
    })
}

fn field(column: &Column) -> StructField {
    StructField::new(
        column.name,
        DataType::Primitive(primitive(column.kind)),
        column.nullable,
    )
    .with_metadata([("comment".to_owned(), MetadataValue::String(column.comment.to_owned()))])
}

async fn create(shape: &TableShape, delta: &DeltaTable) -> Result<DeltaTable, deltalake::DeltaTableError> {
    let columns = shape.columns.iter().map(field);
    CreateBuilder::new()
        .with_log_store(delta.log_store())
        .with_table_name(shape.name)
        .with_comment(shape.comment)
        .with_columns(columns)
        .with_partition_columns(shape.partition_by)
        .await
}

fn primitive(kind: ColumnType) -> PrimitiveType {
    match kind {
        ColumnType::Text => PrimitiveType::String,
        ColumnType::BigInt => PrimitiveType::Long,
        ColumnType::Int => PrimitiveType::Integer,
        ColumnType::Double => PrimitiveType::Double,
        ColumnType::Boolean => PrimitiveType::Boolean,
        ColumnType::Date => PrimitiveType::Date,
        ColumnType::Timestamp => PrimitiveType::Timestamp,
        ColumnType::Binary => PrimitiveType::Binary,
    }
}

/// Reads back which epochs a table has. The writer asks for partitions as they come, so all `txn` actions of the log are read: those of its
/// newest checkpoint, behind which commits may be gone, and those of the commits since.
pub(super) async fn applied_epochs(
    root: &Path,
    shape: &TableShape,
    delta: &DeltaTable,
) -> Result<BTreeMap<String, u64>, LogError> {
    if fault::bug("txn-not-read") {
        return Ok(BTreeMap::new());
    }
    let failed = |error| table_error("read the epochs of", shape, error);
    let store = delta.log_store();
    let newest = delta.version().unwrap_or_default();
    let folder = root.join(shape.name).join("_delta_log");
    let (first, mut applied) = tokio::task::spawn_blocking(move || checkpoint::transactions(&folder, newest))
        .await
        .map_err(|_ended| LogError::Closed)?
        .map_err(|error| table_error("read the epochs of", shape, error))?;
    for version in first..=newest {
        let Some(bytes) = store.read_commit_entry(version).await.map_err(failed)? else {
            continue;
        };
        note_transactions(shape, &bytes, &mut applied)?;
    }
    Ok(applied)
}

/// Notes the epochs and owners of one commit.
pub(super) fn note_transactions(
    shape: &TableShape,
    bytes: &[u8],
    applied: &mut BTreeMap<String, u64>,
) -> Result<(), LogError> {
    for line in bytes
        .split(|&byte| byte == b'\n')
        .filter(|line| line.starts_with(b"{\"txn\""))
    {
        let action: serde_json::Value =
            serde_json::from_slice(line).map_err(|error| table_error("read the epochs of", shape, error))?;
        let transaction = &action["txn"];
        if let (Some(id), Some(epoch)) = (transaction["appId"].as_str(), transaction["version"].as_u64()) {
            checkpoint::note(applied, id, epoch);
        }
    }
    Ok(())
}

pub(super) fn table_error(
    action: &'static str,
    shape: &TableShape,
    error: impl std::error::Error + Send + Sync + 'static,
) -> LogError {
    LogError::Table {
        action,
        table: shape.name.to_owned(),
        source: Box::new(error),
    }
}
