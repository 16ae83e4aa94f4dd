//! What Flight SQL clients list: catalogs, schemas, tables, keys.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::error::FlightError;
use arrow_flight::sql::{CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables};
use datafusion::datasource::TableType;
use tonic::Status;

use crate::table::{CATALOG_NAME, SCHEMA_NAME, Tables};
use crate::wire::wire_schema;

const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";

/// The one catalog.
pub(super) fn catalogs(command: CommandGetCatalogs) -> Result<RecordBatch, Status> {
    let mut builder = command.into_builder();
    builder.append(CATALOG_NAME);
    builder.build().map_err(internal)
}

/// The one schema, if its catalog is asked for, or none in particular.
pub(super) fn schemas(mut command: CommandGetDbSchemas) -> Result<RecordBatch, Status> {
    command.catalog = command.catalog.filter(|catalog| !catalog.is_empty());
    let mut builder = command.into_builder();
    builder.append(CATALOG_NAME, SCHEMA_NAME);
    builder.build().map_err(internal)
}

/// Our tables and views.
pub(super) fn tables(mut command: CommandGetTables, tables: &Tables) -> Result<RecordBatch, Status> {
    command.catalog = command.catalog.filter(|catalog| !catalog.is_empty());
    let mut builder = command.into_builder();
    for (name, table) in tables.iter() {
        let kind = if table.table_type() == TableType::View {
            VIEW
        } else {
            TABLE
        };
        builder
            .append(CATALOG_NAME, SCHEMA_NAME, name, kind, &wire_schema(&table.schema()))
            .map_err(internal)?;
    }
    builder.build().map_err(internal)
}

/// The kinds of tables there are.
pub(super) fn table_types(command: CommandGetTableTypes) -> Result<RecordBatch, Status> {
    let mut builder = command.into_builder();
    builder.append(TABLE);
    builder.append(VIEW);
    builder.build().map_err(internal)
}

/// Primary keys: there are none to list.
pub(super) fn primary_keys() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
}

/// Foreign keys in any direction: there are none to list.
pub(super) fn foreign_keys() -> SchemaRef {
    let text = |name: &str, nullable: bool| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}

#[allow(clippy::needless_pass_by_value, reason = "made for map_err")]
fn internal(error: FlightError) -> Status {
    Status::internal(format!("cannot list: {error}"))
}
