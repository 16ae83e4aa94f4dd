//! `pg_catalog` for all connections: our tables under numbers that stay the same as long as the process lives (clients with several
//! connections, and DBeaver's are several, carry them from one to the other), the comments of tables and columns, and the settings.
//!
//! What is listed does not change while the process lives, so the tables of `pg_catalog` that depend on it are made once, with the columns
//! that `datafusion-pg-catalog` leaves out or gives another type (`relacl`, `reloptions`, …).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, Int32Array, RecordBatch, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Int32Type, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::{MemTable, TableType};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::prelude::SessionContext;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::{
    PG_CATALOG_TABLES, PgCatalogSchemaProvider, PgCatalogStaticTables,
};

use super::control::settings;
use crate::table::{CATALOG_NAME, SCHEMA_NAME, Tables, comment_of};
use crate::wire::wire_schema;

const PG_CATALOG: &str = "pg_catalog";
const PG_CLASS: &str = "pg_class";
const PG_DESCRIPTION: &str = "pg_description";
const PG_SETTINGS: &str = "pg_settings";
/// Tables made once, and columns they get: rights and options are lists, and there are none.
const MADE_ONCE: &[(&str, &[&str])] = &[
    (PG_CLASS, &["relacl", "reloptions"]),
    ("pg_attribute", &["attacl", "attoptions"]),
    ("pg_namespace", &["nspacl"]),
    ("pg_database", &["datacl"]),
];

/// What is listed: our tables, and those of `pg_catalog` itself, which casts like `'pg_class'::regclass` look up.
#[derive(Debug, Clone)]
struct Listed {
    core: Arc<BTreeMap<String, (SchemaRef, TableType)>>,
    system: Arc<BTreeMap<String, SchemaRef>>,
}

impl Listed {
    fn has(catalog: &str) -> bool {
        catalog == CATALOG_NAME
    }
}

#[async_trait]
impl CatalogInfo for Listed {
    async fn catalog_names(&self) -> Result<Vec<String>> {
        Ok(vec![CATALOG_NAME.to_owned()])
    }

    async fn schema_names(&self, catalog: &str) -> Result<Option<Vec<String>>> {
        Ok(Self::has(catalog).then(|| vec![SCHEMA_NAME.to_owned(), PG_CATALOG.to_owned()]))
    }

    async fn table_names(&self, catalog: &str, schema: &str) -> Result<Option<Vec<String>>> {
        Ok(match schema {
            _ if !Self::has(catalog) => None,
            SCHEMA_NAME => Some(self.core.keys().cloned().collect()),
            PG_CATALOG => Some(self.system.keys().cloned().collect()),
            _ => None,
        })
    }

    async fn table_schema(&self, catalog: &str, schema: &str, table: &str) -> Result<Option<SchemaRef>> {
        Ok(match schema {
            _ if !Self::has(catalog) => None,
            SCHEMA_NAME => self.core.get(table).map(|(schema, _)| schema.clone()),
            PG_CATALOG => self.system.get(table).cloned(),
            _ => None,
        })
    }

    async fn table_type(&self, catalog: &str, schema: &str, table: &str) -> Result<Option<TableType>> {
        Ok(match schema {
            _ if !Self::has(catalog) => None,
            SCHEMA_NAME => self.core.get(table).map(|(_, kind)| *kind),
            _ => Some(TableType::Base),
        })
    }
}

/// Comments by number of the table and number of the column, 0 for the table itself.
type Comments = HashMap<(i32, i32), String>;

/// The schema `pg_catalog`.
#[derive(Debug)]
pub(super) struct PgTables {
    listed: PgCatalogSchemaProvider<Listed, EmptyContextProvider>,
    /// Tables that are not those of `listed`.
    ours: BTreeMap<&'static str, Arc<MemTable>>,
    comments: Arc<Comments>,
}

impl PgTables {
    /// Lists these tables.
    pub(super) async fn new(tables: &Tables) -> Result<Self> {
        let core = tables.iter().map(|(name, table)| {
            let schema = wire_schema(&table.schema());
            (name.to_owned(), (schema, table.table_type()))
        });
        let core: Arc<BTreeMap<_, _>> = Arc::new(core.collect());
        let static_tables = Arc::new(PgCatalogStaticTables::try_new()?);
        let listing = |system: BTreeMap<String, SchemaRef>| {
            let listed = Listed {
                core: core.clone(),
                system: Arc::new(system),
            };
            PgCatalogSchemaProvider::try_new(listed, static_tables.clone(), EmptyContextProvider)
        };
        // The tables' own columns are not known before the tables are made.
        let bare = listing(BTreeMap::new())?;
        let mut system = BTreeMap::new();
        for name in PG_CATALOG_TABLES {
            if let Some(table) = bare.build_table_by_name(name)? {
                system.insert((*name).to_owned(), table.schema());
            }
        }
        let listed = listing(system)?;
        let mut ours = BTreeMap::new();
        // Asking for `pg_class` first is what gives the numbers out, in the order of names.
        for (name, lists) in MADE_ONCE {
            let (schema, batches) = with_lists(collected(&listed, name).await?, lists)?;
            ours.insert(*name, (schema, batches));
        }
        let numbers = numbers_of_tables(&ours[PG_CLASS].1);
        let comments = comments_of(&core, &numbers);
        let theirs = &static_tables.pg_description;
        let mut descriptions = theirs.data().to_vec();
        let class = numbers.get(PG_CLASS).copied().unwrap_or_default();
        descriptions.push(description_rows(&comments, class, &theirs.schema())?);
        ours.insert(PG_DESCRIPTION, (theirs.schema(), descriptions));
        let (schema, _) = collected(&listed, PG_SETTINGS).await?;
        let rows = setting_rows(&schema)?;
        ours.insert(PG_SETTINGS, (schema, vec![rows]));
        let ours = ours.into_iter().map(|(name, (schema, batches))| {
            let table = MemTable::try_new(schema, vec![batches])?;
            Ok((name, Arc::new(table)))
        });
        Ok(Self {
            ours: ours.collect::<Result<_>>()?,
            listed,
            comments: Arc::new(comments),
        })
    }

    /// `obj_description` and `col_description`.
    pub(super) fn functions(&self) -> [ScalarUDF; 2] {
        [("obj_description", 1), ("col_description", 2)].map(|(name, numbers)| {
            ScalarUDF::new_from_impl(Description {
                name,
                numbers,
                signature: Signature::user_defined(Volatility::Stable),
                comments: CommentsOfTables(self.comments.clone()),
            })
        })
    }
}

#[async_trait]
impl SchemaProvider for PgTables {
    fn table_names(&self) -> Vec<String> {
        self.listed.table_names()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(table) = self.ours.get(name.to_ascii_lowercase().as_str()) {
            return Ok(Some(table.clone()));
        }
        self.listed.table(name).await
    }

    fn table_exist(&self, name: &str) -> bool {
        self.listed.table_exist(name)
    }
}

/// The rows of a table.
async fn collected(
    listed: &PgCatalogSchemaProvider<Listed, EmptyContextProvider>,
    name: &str,
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let Some(table) = listed.table(name).await? else {
        return datafusion::common::internal_err!("pg_catalog has no table {name}");
    };
    let schema = table.schema();
    Ok((schema, SessionContext::new().read_table(table)?.collect().await?))
}

/// The rows with these columns as lists of texts, all NULL; those that are not there come last.
fn with_lists(
    (schema, batches): (SchemaRef, Vec<RecordBatch>),
    lists: &[&str],
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let list = |name: &str| -> FieldRef {
        let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
        Arc::new(Field::new(name, DataType::List(item), true))
    };
    let kept = |field: &FieldRef| {
        if lists.contains(&field.name().as_str()) {
            list(field.name())
        } else {
            field.clone()
        }
    };
    let missing = lists.iter().filter(|name| schema.field_with_name(name).is_err());
    let fields: Vec<FieldRef> = schema
        .fields()
        .iter()
        .map(kept)
        .chain(missing.map(|name| list(name)))
        .collect();
    let wider = Arc::new(Schema::new(fields));
    let batches = batches.iter().map(|batch| {
        let column = |field: &FieldRef| match batch.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => column.clone(),
            _ => new_null_array(field.data_type(), batch.num_rows()),
        };
        Ok(RecordBatch::try_new(
            wider.clone(),
            wider.fields().iter().map(column).collect(),
        )?)
    });
    Ok((wider.clone(), batches.collect::<Result<_>>()?))
}

/// Numbers by name of the table, out of `pg_class`.
fn numbers_of_tables(batches: &[RecordBatch]) -> HashMap<String, i32> {
    let mut numbers = HashMap::new();
    for batch in batches {
        let (Some(oids), Some(names)) = (batch.column_by_name("oid"), batch.column_by_name("relname")) else {
            continue;
        };
        let (oids, names) = (oids.as_primitive::<Int32Type>(), names.as_string::<i32>());
        numbers.extend((0..batch.num_rows()).map(|row| (names.value(row).to_owned(), oids.value(row))));
    }
    numbers
}

/// What SHOW tells, as `pg_settings`.
fn setting_rows(schema: &SchemaRef) -> Result<RecordBatch> {
    let count = settings().count();
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "name" => Arc::new(settings().map(|(name, _)| Some(name)).collect::<StringArray>()),
            "setting" | "reset_val" => Arc::new(settings().map(|(_, value)| Some(value)).collect::<StringArray>()),
            _ => new_null_array(field.data_type(), count),
        }
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect())?)
}

fn comments_of(core: &BTreeMap<String, (SchemaRef, TableType)>, numbers: &HashMap<String, i32>) -> Comments {
    let mut comments = Comments::new();
    for (name, (schema, _)) in core {
        let Some(&oid) = numbers.get(name) else { continue };
        if let Some(comment) = comment_of(name) {
            comments.insert((oid, 0), comment.to_owned());
        }
        for (number, field) in (1..).zip(schema.fields()) {
            if let Some(comment) = field.metadata().get("comment") {
                comments.insert((oid, number), comment.clone());
            }
        }
    }
    comments
}

/// Rows of `pg_description`: objoid, classoid, objsubid, description, by the names of its columns.
fn description_rows(comments: &Comments, class: i32, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut rows: Vec<_> = comments.iter().collect();
    rows.sort();
    let number = |of: fn(&(i32, i32)) -> i32| -> ArrayRef {
        Arc::new(rows.iter().map(|(key, _)| Some(of(key))).collect::<Int32Array>())
    };
    let columns = schema.fields().iter().map(|field| {
        let column: ArrayRef = match field.name().as_str() {
            "objoid" => number(|key| key.0),
            "objsubid" => number(|key| key.1),
            "classoid" => Arc::new(Int32Array::from(vec![class; rows.len()])),
            _ => Arc::new(
                rows.iter()
                    .map(|(_, text)| Some(text.as_str()))
                    .collect::<StringArray>(),
            ),
        };
        Ok(cast(&column, field.data_type())?)
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<_>>()?)?)
}

/// Comments, the same ones for every function that is made of them.
#[derive(Debug)]
struct CommentsOfTables(Arc<Comments>);

impl PartialEq for CommentsOfTables {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for CommentsOfTables {}

impl std::hash::Hash for CommentsOfTables {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.len().hash(state);
    }
}

/// `obj_description(number, catalog)`, `col_description(number, column)`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Description {
    name: &'static str,
    /// How many of its arguments are numbers.
    numbers: usize,
    signature: Signature,
    comments: CommentsOfTables,
}

impl ScalarUDFImpl for Description {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        if given.is_empty() || given.len() > 2 {
            return datafusion::common::plan_err!("{} takes one or two arguments", self.name);
        }
        let wanted = [
            DataType::Int32,
            if self.numbers == 2 {
                DataType::Int32
            } else {
                DataType::Utf8
            },
        ];
        Ok(wanted.into_iter().take(given.len()).collect())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_scalar = arguments
            .args
            .iter()
            .all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&arguments.args)?;
        let tables = arrays[0].as_primitive::<Int32Type>();
        let columns = arrays.get(1).filter(|_| self.numbers == 2);
        let found = (0..tables.len()).map(|row| {
            let column = columns.map_or(0, |columns| columns.as_primitive::<Int32Type>().value(row));
            let key = (tables.value(row), column);
            self.comments.0.get(&key).map(String::as_str)
        });
        let found: StringArray = found.collect();
        if all_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&found, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::catalog::{CatalogProvider as _, MemoryCatalogProvider};

    use super::*;
    use crate::table::{Catalog, TABLES};

    async fn context() -> SessionContext {
        let folder = tempfile::tempdir().unwrap();
        let tables = Catalog::open(folder.path(), None)
            .await
            .unwrap()
            .tables()
            .await
            .unwrap();
        let pg = PgTables::new(&tables).await.unwrap();
        let context = SessionContext::new();
        for function in pg.functions() {
            context.register_udf(function);
        }
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(PG_CATALOG, Arc::new(pg)).unwrap();
        context.register_catalog(CATALOG_NAME, Arc::new(catalog));
        context
    }

    async fn answer(context: &SessionContext, sql: &str) -> String {
        let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
        pretty_format_batches(&batches).unwrap().to_string()
    }

    #[tokio::test]
    async fn numbers_of_tables_do_not_depend_on_what_is_asked_first() {
        let numbers = "select relname, oid from shiyu.pg_catalog.pg_class order by 1";
        let first = context().await;
        let expected = answer(&first, numbers).await;
        let other = context().await;
        for table in ["pg_attribute", "pg_namespace", "pg_database"] {
            answer(&other, &format!("select * from shiyu.pg_catalog.{table}")).await;
        }
        assert_eq!(answer(&other, numbers).await, expected);
    }

    #[tokio::test]
    async fn every_table_and_every_column_has_its_comment() {
        let context = context().await;
        let sql = "select count(*) from shiyu.pg_catalog.pg_class c join shiyu.pg_catalog.pg_description d
            on c.oid = d.objoid and d.objsubid = 0 where d.description = obj_description(c.oid, 'pg_class')";
        let count = answer(&context, sql).await;
        assert!(count.contains(&format!("| {} ", TABLES.len())), "{count}");
        let sql = "select c.relname, a.attname from shiyu.pg_catalog.pg_class c join shiyu.pg_catalog.pg_attribute a
            on a.attrelid = c.oid where c.relname not like 'pg_%' and col_description(c.oid, a.attnum) is null";
        let bare = answer(&context, sql).await;
        assert_eq!(bare.matches('\n').count(), 1, "{bare}");
    }
}
