//! The files of a stored table at one version, as a plain Parquet scan.
//!
//! The Delta log says which files are active and what their partition is; the scan itself is DataFusion's own, so that nothing but
//! Parquet stands between a query and the rows, and types come out exactly as [`TableShape::schema`] has them. This is right because our
//! tables have no deletion vectors and no column mapping; a table that has them is refused.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DataFusionError, Result, ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use deltalake::DeltaTable;
use shiyu_schemas::table::TableShape;

use crate::error::QueryError;

/// Where the tables' folder is mounted for queries. No other store is.
pub const STORE_URL: &str = "shiyu://tables";

/// One active file.
#[derive(Debug, Clone)]
struct ActiveFile {
    /// Path below the tables' folder.
    path: String,
    size_bytes: u64,
    rows: Option<usize>,
    /// Value of the partition column, if the table has one.
    partition: Option<ScalarValue>,
}

/// A stored table at one version.
#[derive(Debug)]
pub struct SnapshotTable {
    schema: SchemaRef,
    /// Position of the partition column in `schema`.
    partition: Option<usize>,
    files: Arc<[ActiveFile]>,
    /// Rows that are in no file yet.
    rows: Vec<RecordBatch>,
}

impl SnapshotTable {
    /// A table without rows.
    pub fn empty(shape: &TableShape) -> Self {
        Self {
            schema: shape.schema(),
            partition: shape.partition_by.map(|name| shape.index(name)),
            files: Arc::default(),
            rows: Vec::new(),
        }
    }

    /// The same table with these rows that are in no file yet.
    #[must_use]
    pub fn with_rows(&self, rows: Vec<RecordBatch>) -> Self {
        Self {
            schema: self.schema.clone(),
            partition: self.partition,
            files: self.files.clone(),
            rows,
        }
    }

    /// The files a Delta table has at the version it is loaded at.
    pub fn of_delta(shape: &TableShape, delta: &DeltaTable) -> Result<Self, QueryError> {
        let mut files = Vec::new();
        let state = delta.snapshot()?;
        for file in state.log_data().iter() {
            if file.deletion_vector_descriptor().is_some() {
                let problem = format!(
                    "table \"{}\" has deletion vectors, which no writer of ours makes",
                    shape.name
                );
                return Err(QueryError::Storage(problem.into()));
            }
            let partition = match shape.partition_by {
                Some(column) => Some(partition_value(
                    shape,
                    column,
                    file.partition_values_map().remove(column).flatten(),
                )?),
                None => None,
            };
            files.push(ActiveFile {
                path: format!("{}/{}", shape.name, file.path()),
                size_bytes: file.size().unsigned_abs(),
                rows: file.num_records(),
                partition,
            });
        }
        files.sort_by(|one: &ActiveFile, other| one.path.cmp(&other.path));
        Ok(Self {
            files: files.into(),
            ..Self::empty(shape)
        })
    }

    /// How many files the table has.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// The schema as the scan sees it: columns of the files, then the partition column.
    fn scan_schema(&self) -> TableSchema {
        let in_files: Vec<Arc<Field>> = self
            .schema
            .fields()
            .iter()
            .enumerate()
            .filter(|(index, _)| Some(*index) != self.partition)
            .map(|(_, field)| field.clone())
            .collect();
        let partition: Vec<Arc<Field>> = self
            .partition
            .iter()
            .map(|&index| self.schema.fields()[index].clone())
            .collect();
        TableSchema::builder(Arc::new(Schema::new(in_files)))
            .with_table_partition_cols(partition)
            .build()
    }

    /// Position of one of our columns in the scan's schema.
    fn scan_index(&self, index: usize) -> usize {
        match self.partition {
            Some(partition) if index == partition => self.schema.fields().len() - 1,
            Some(partition) if index > partition => index - 1,
            _ => index,
        }
    }

    /// Rows in files.
    fn file_rows(&self) -> Precision<usize> {
        self.files
            .iter()
            .map(|file| file.rows)
            .sum::<Option<usize>>()
            .map_or(Precision::Absent, Precision::Exact)
    }

    fn row_count(&self) -> Precision<usize> {
        let more = self.rows.iter().map(RecordBatch::num_rows).sum();
        self.file_rows().add(&Precision::Exact(more))
    }

    fn scan_files(
        &self,
        state: &dyn Session,
        wanted: &[usize],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files: Vec<PartitionedFile> = self
            .files
            .iter()
            .map(|file| {
                PartitionedFile::new(file.path.clone(), file.size_bytes)
                    .with_partition_values(file.partition.iter().cloned().collect())
            })
            .collect();
        let mut options = state.table_options().parquet.clone();
        options.global.schema_force_view_types = false;
        let schema = self.scan_schema();
        let statistics = Statistics {
            num_rows: self.file_rows(),
            ..Statistics::new_unknown(schema.table_schema())
        };
        let source = ParquetSource::new(schema).with_table_parquet_options(options);
        let store = ObjectStoreUrl::parse(STORE_URL)?;
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(store, Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_limit(limit)
            .with_projection_indices(Some(wanted.iter().map(|&index| self.scan_index(index)).collect()))?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

fn partition_value(shape: &TableShape, column: &str, value: Option<String>) -> Result<ScalarValue, QueryError> {
    let kind = shape.columns[shape.index(column)].kind.data_type();
    let value = match value {
        Some(text) => ScalarValue::try_from_string(text, &kind),
        None => ScalarValue::try_from(&kind),
    };
    value.map_err(|error| QueryError::Storage(Box::new(error)))
}

#[async_trait]
impl TableProvider for SnapshotTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(Statistics {
            num_rows: self.row_count(),
            ..Statistics::new_unknown(&self.schema)
        })
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted: Vec<usize> = match projection {
            Some(indices) => indices.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let mut parts = Vec::new();
        if !self.files.is_empty() {
            parts.push(self.scan_files(state, &wanted, limit)?);
        }
        if !self.rows.is_empty() {
            let rows = std::slice::from_ref(&self.rows);
            parts.push(MemorySourceConfig::try_new_exec(
                rows,
                self.schema.clone(),
                Some(wanted.clone()),
            )?);
        }
        match parts.len() {
            0 => Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&wanted)?)))),
            _ => UnionExec::try_new(parts),
        }
    }
}

impl From<QueryError> for DataFusionError {
    fn from(error: QueryError) -> Self {
        Self::External(Box::new(error))
    }
}
