//! Sessions: each request or connection gets its own, with nothing in it but our tables and functions.
//!
//! A session is cheap: functions and settings come from one template; the tables are shared as one set per snapshot. The only object
//! store is the tables' folder, under a name only scans use. Memory is one pool for all queries together.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::catalog::{CatalogProviderList as _, MemoryCatalogProviderList};
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{DataFusionError, ParamValues, ScalarValue};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::object_store::local::LocalFileSystem;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{Expr, SessionConfig, SessionContext};
use datafusion::sql::parser::{DFParserBuilder, Statement as ParsedStatement};
use datafusion::sql::sqlparser::ast::Statement;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::dialect;
use crate::error::QueryError;
use crate::guard;
use crate::table::catalog::SessionCatalog;
use crate::table::scan::STORE_URL;
use crate::table::{CATALOG_NAME, Catalog, CoreSchema, SCHEMA_NAME, Tables};
use crate::wire::{wire_batch, wire_schema};

/// Seconds a query may take.
pub const QUERY_SECONDS_MAX: u64 = 30;
/// Rows a result may have.
pub const RESULT_ROWS_MAX: usize = 1_000_000;
const SPILL_BYTES_MAX: u64 = 1 << 30;
const CONSUMERS_TOLD: usize = 3;

/// Rows of a result, on their way.
pub struct Rows {
    /// Their schema, as clients get it.
    pub schema: SchemaRef,
    /// The rows. Ends with an error where a limit is met.
    pub stream: BoxStream<'static, Result<RecordBatch, QueryError>>,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Rows")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl Rows {
    /// All rows.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>, QueryError> {
        let mut batches = Vec::new();
        while let Some(batch) = self.stream.next().await {
            batches.push(batch?);
        }
        Ok(batches)
    }
}

/// Makes sessions.
pub struct SessionFactory {
    catalog: Arc<Catalog>,
    template: SessionState,
    runtime: Arc<RuntimeEnv>,
}

impl std::fmt::Debug for SessionFactory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SessionFactory")
            .field("catalog", &self.catalog)
            .finish_non_exhaustive()
    }
}

impl SessionFactory {
    /// Sessions over a catalog; all their queries together may use `memory_bytes`. `extend` adds what a door needs (`pg_catalog`).
    pub fn new(
        catalog: Arc<Catalog>,
        memory_bytes: usize,
        extend: impl FnOnce(&SessionContext) -> Result<(), DataFusionError>,
    ) -> Result<Self, QueryError> {
        let internal = |error| QueryError::Internal(Box::new(error));
        let told = std::num::NonZeroUsize::new(CONSUMERS_TOLD).expect("the constant is not 0");
        let pool = TrackConsumersPool::new(FairSpillPool::new(memory_bytes), told);
        let spill = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::OsTmpDirectory)
            .with_max_temp_directory_size(SPILL_BYTES_MAX);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(pool))
            .with_disk_manager_builder(spill)
            .build_arc()
            .map_err(internal)?;
        // No query can name a file: the store of local files goes, and only the tables' folder comes.
        runtime
            .deregister_object_store(ObjectStoreUrl::local_filesystem().as_ref())
            .map_err(internal)?;
        let state = SessionStateBuilder::new()
            .with_config(config().map_err(internal)?)
            .with_runtime_env(runtime.clone())
            .with_default_features()
            .build();
        let context = SessionContext::new_with_state(state);
        register_functions(&context);
        extend(&context).map_err(internal)?;
        Ok(Self {
            catalog,
            template: context.state(),
            runtime,
        })
    }

    /// A session of its own, at the newest snapshot.
    pub async fn session(&self) -> Result<Session, QueryError> {
        let tables = self.catalog.tables().await?;
        self.mount(self.catalog.root())?;
        let core = Arc::new(CoreSchema::new(tables));
        let catalogs = Arc::new(MemoryCatalogProviderList::new());
        catalogs.register_catalog(CATALOG_NAME.to_owned(), Arc::new(SessionCatalog::new(core.clone())));
        let state = SessionStateBuilder::new_from_existing(self.template.clone())
            .with_catalog_list(catalogs)
            .with_session_id(String::new())
            .build();
        Ok(Session {
            context: SessionContext::new_with_state(state),
            core,
        })
    }

    /// Mounts the tables' folder once it is there.
    fn mount(&self, root: &Path) -> Result<(), QueryError> {
        let internal = |error| QueryError::Internal(Box::new(error));
        let url = ObjectStoreUrl::parse(STORE_URL).map_err(internal)?;
        if self.runtime.object_store(&url).is_err() && root.is_dir() {
            let store = LocalFileSystem::new_with_prefix(root).map_err(|error| QueryError::Storage(Box::new(error)))?;
            self.runtime.register_object_store(url.as_ref(), Arc::new(store));
        }
        Ok(())
    }
}

fn config() -> Result<SessionConfig, DataFusionError> {
    let mut config = SessionConfig::new()
        .with_information_schema(true)
        .with_default_catalog_and_schema(CATALOG_NAME, SCHEMA_NAME)
        .with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    options.set("datafusion.sql_parser.map_string_types_to_utf8view", "false")?;
    options.set("datafusion.sql_parser.dialect", "PostgreSQL")?;
    options.set("datafusion.execution.parquet.schema_force_view_types", "false")?;
    options.set("datafusion.execution.parquet.pushdown_filters", "true")?;
    Ok(config)
}

fn register_functions(context: &SessionContext) {
    shiyu_function::register_all(context);
}

/// One session: plans and runs queries of one caller.
pub struct Session {
    context: SessionContext,
    core: Arc<CoreSchema>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Session")
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// The context, for doors that add schemas of their own.
    pub(crate) fn context(&self) -> &SessionContext {
        &self.context
    }

    /// The tables it sees.
    pub fn tables(&self) -> Arc<Tables> {
        self.core.tables()
    }

    /// Plans the one query of a text.
    pub async fn plan(&self, sql: &str) -> Result<LogicalPlan, QueryError> {
        let statement = parse_one(sql)?;
        self.context
            .state()
            .statement_to_plan(statement)
            .await
            .map_err(QueryError::of_planning)
    }

    /// Plans a statement. Whoever parsed it has checked the text.
    pub(crate) async fn plan_statement(&self, mut statement: Statement) -> Result<LogicalPlan, QueryError> {
        guard::check_statement(&statement)?;
        dialect::translate(&mut statement)?;
        let statement = ParsedStatement::Statement(Box::new(statement));
        self.context
            .state()
            .statement_to_plan(statement)
            .await
            .map_err(QueryError::of_planning)
    }

    /// Puts parameters into a plan and checks it.
    pub fn bind(plan: LogicalPlan, parameters: Option<ParamValues>) -> Result<LogicalPlan, QueryError> {
        let plan = match parameters {
            Some(values) => plan
                .replace_params_with_values(&values)
                .map_err(|error| QueryError::Parameters {
                    problem: error.strip_backtrace(),
                })?,
            None => plan,
        };
        guard::check_plan(&plan)?;
        Ok(plan)
    }

    /// Runs a bound plan. The permit is held until the last row.
    pub async fn run(&self, plan: LogicalPlan, permit: Option<OwnedSemaphorePermit>) -> Result<Rows, QueryError> {
        let schema = wire_schema(plan.schema().as_arrow());
        let deadline = Instant::now() + Duration::from_secs(QUERY_SECONDS_MAX);
        let state = self.context.state();
        let task = self.context.task_ctx();
        let started = async {
            let optimized = state.optimize(&plan).map_err(QueryError::of_planning)?;
            let physical = state.query_planner().create_physical_plan(&optimized, &state).await;
            execute_stream(physical.map_err(QueryError::of_planning)?, task).map_err(QueryError::of_running)
        };
        let batches = tokio::time::timeout_at(deadline, started)
            .await
            .map_err(|_late| TIMEOUT)??;
        let running = Running {
            batches,
            schema: schema.clone(),
            deadline,
            rows: 0,
            _permit: permit,
        };
        let stream = stream::unfold(Some(running), |running| async move {
            let mut running = running?;
            let next = running.next().await?;
            let rest = next.is_ok().then_some(running);
            Some((next, rest))
        });
        Ok(Rows {
            schema,
            stream: stream.boxed(),
        })
    }
}

/// Parses the one query of a text, once the text is found harmless.
fn parse_one(sql: &str) -> Result<ParsedStatement, QueryError> {
    guard::check_text(sql)?;
    let sql = guard::number_parameters(sql);
    let dialect = PostgreSqlDialect {};
    let mut parser = DFParserBuilder::new(sql.as_str())
        .with_dialect(&dialect)
        .with_recursion_limit(guard::DEPTH_MAX)
        .build()
        .map_err(QueryError::of_planning)?;
    let mut statements = parser.parse_statements().map_err(QueryError::of_planning)?;
    let (Some(mut parsed), None) = (statements.pop_front(), statements.pop_front()) else {
        return Err(QueryError::Syntax {
            problem: "give exactly one query".to_owned(),
        });
    };
    let inner = match &mut parsed {
        ParsedStatement::Statement(statement) => statement,
        ParsedStatement::Explain(explain) => match explain.statement.as_mut() {
            ParsedStatement::Statement(statement) => statement,
            _ => {
                return Err(QueryError::Denied {
                    what: "EXPLAIN of this statement".to_owned(),
                });
            }
        },
        _ => {
            return Err(QueryError::Denied {
                what: "this statement".to_owned(),
            });
        }
    };
    guard::check_statement(inner)?;
    dialect::translate(inner)?;
    Ok(parsed)
}

const TIMEOUT: QueryError = QueryError::Timeout {
    limit_seconds: QUERY_SECONDS_MAX,
};

struct Running {
    batches: datafusion::execution::SendableRecordBatchStream,
    schema: SchemaRef,
    deadline: Instant,
    rows: usize,
    /// Held as long as the query runs.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Running {
    async fn next(&mut self) -> Option<Result<RecordBatch, QueryError>> {
        let batch = match tokio::time::timeout_at(self.deadline, self.batches.next()).await {
            Ok(None) => return None,
            Ok(Some(Ok(batch))) => batch,
            Ok(Some(Err(error))) => return Some(Err(QueryError::of_running(error))),
            Err(_late) => return Some(Err(TIMEOUT)),
        };
        self.rows += batch.num_rows();
        if self.rows > RESULT_ROWS_MAX {
            return Some(Err(QueryError::TooManyRows { limit: RESULT_ROWS_MAX }));
        }
        Some(wire_batch(&batch, &self.schema).map_err(|error| QueryError::of_running(error.into())))
    }
}

/// Parameters of a plan in order (`$1`, `$2`, …, `$10`), with the type the planner found, or that they are cast to.
pub fn parameters_of(plan: &LogicalPlan) -> Result<Vec<(String, Option<DataType>)>, QueryError> {
    let mut found = plan.get_parameter_types().map_err(QueryError::of_planning)?;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                if let Expr::Cast(cast) = inner
                    && let Expr::Placeholder(placeholder) = cast.expr.as_ref()
                    && let Some(kind @ None) = found.get_mut(&placeholder.id)
                {
                    *kind = Some(cast.field.data_type().clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map_err(QueryError::of_planning)?;
    let mut parameters: Vec<_> = found.into_iter().collect();
    parameters.sort_by_key(|(id, _)| id.trim_start_matches('$').parse::<u32>().unwrap_or(u32::MAX));
    Ok(parameters)
}

/// Values for the parameters of a plan, cast to what the planner found.
pub fn parameter_values(
    parameters: &[(String, Option<DataType>)],
    values: Vec<ScalarValue>,
) -> Result<ParamValues, QueryError> {
    if parameters.len() != values.len() {
        let problem = format!("the query has {}, {} were given", parameters.len(), values.len());
        return Err(QueryError::Parameters { problem });
    }
    let cast = parameters.iter().zip(values).map(|((id, kind), value)| match kind {
        Some(kind) => value.cast_to(kind).map_err(|_unfit| QueryError::Parameters {
            problem: format!("{id} must be {kind}"),
        }),
        None => Ok(value),
    });
    Ok(ParamValues::from(cast.collect::<Result<Vec<_>, _>>()?))
}
