//! Simple and extended queries of one connection.
//!
//! A prepared statement is planned when it is parsed, for its types, and again when it is run, so that it always sees the newest
//! snapshot. All limits are those of the other doors: the text is checked before it is parsed, the plan before it is run.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion_postgres::arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use datafusion_postgres::arrow_pg::datatypes::{arrow_schema_to_pg_fields, encode_recordbatch, into_pg_type};
use futures::{Sink, SinkExt as _, StreamExt as _, stream};
use pgwire::api::portal::{Format, Portal};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::results::{FieldInfo, QueryResponse, Response, Tag};
use pgwire::api::stmt::QueryParser;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::startup::ParameterStatus;
use pgwire::types::format::FormatOptions;

use super::PgService;
use super::control::{Control, control_of, default_of, reported_name};
use super::shims::rewritten;
use crate::error::QueryError;
use crate::guard;
use crate::session::{Rows, Session, parameter_values, parameters_of};
use crate::table::CATALOG_NAME;
use crate::wire::wire_schema;

/// Statements of one simple query.
const STATEMENTS_MAX: usize = 16;

/// A parsed statement.
#[derive(Debug, Clone)]
pub struct PgStatement {
    statement: Statement,
    control: Option<Control>,
    schema: SchemaRef,
    parameters: Vec<(String, Option<DataType>)>,
}

/// Queries of one connection.
pub struct QueryHandler {
    service: Arc<PgService>,
    parser: Arc<StatementParser>,
}

impl Debug for QueryHandler {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("QueryHandler")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

impl QueryHandler {
    /// For a new connection. Each statement gets a session of its own, so that one that waits for its next keeps no tables.
    pub fn new(service: Arc<PgService>) -> Self {
        let parser = Arc::new(StatementParser {
            service: service.clone(),
        });
        Self { service, parser }
    }

    async fn run(&self, statement: Statement, parameters: Option<ParamValues>) -> Result<Rows, QueryError> {
        let turn = self.service.service.turn().await?;
        let session = self.service.session().await?;
        let plan = session.plan_statement(statement).await?;
        session.run(Session::bind(plan, parameters)?, Some(turn)).await
    }
}

impl PgService {
    /// A session with `pg_catalog`.
    async fn session(&self) -> Result<Session, QueryError> {
        let session = self.service.session().await?;
        let catalog = session
            .context()
            .catalog(CATALOG_NAME)
            .ok_or(QueryError::UnknownStatement)?;
        catalog
            .register_schema("pg_catalog", self.pg_tables.clone())
            .map_err(|error| QueryError::Internal(Box::new(error)))?;
        Ok(session)
    }

    fn parse(&self, sql: &str) -> Result<Vec<Statement>, QueryError> {
        let sql = rewritten(sql);
        guard::check_text(&sql)?;
        let statements = self.parser.parse(&sql).map_err(|error| QueryError::Syntax {
            problem: error.to_string(),
        })?;
        if statements.len() > STATEMENTS_MAX {
            return Err(QueryError::TooLarge {
                what: "statements",
                limit: STATEMENTS_MAX,
            });
        }
        Ok(statements)
    }
}

fn encoded<C: ClientInfo>(client: &C, rows: Rows, format: &Format) -> PgWireResult<Response> {
    let options = Arc::new(FormatOptions::from_client_metadata(client.metadata()));
    let fields = Arc::new(arrow_schema_to_pg_fields(&rows.schema, format, Some(options))?);
    let row_fields = fields.clone();
    let data = rows.stream.flat_map(move |batch| match batch {
        Ok(batch) => stream::iter(encode_recordbatch(row_fields.clone(), batch)).boxed(),
        Err(error) => stream::iter([Err(PgWireError::from(error))]).boxed(),
    });
    Ok(Response::Query(QueryResponse::new(fields, data)))
}

fn shown_schema(name: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(name, DataType::Utf8, false)]))
}

async fn answer_control<C>(client: &mut C, control: Control, format: &Format) -> PgWireResult<Response>
where
    C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
    PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
{
    match control {
        Control::Done(tag) => Ok(Response::Execution(Tag::new(tag))),
        Control::Start => Ok(Response::TransactionStart(Tag::new("BEGIN"))),
        Control::End(tag) => Ok(Response::TransactionEnd(Tag::new(tag))),
        Control::Set { name, value } => {
            if let Some(reported) = reported_name(&name) {
                let status = ParameterStatus::new(reported.to_owned(), value.clone());
                client.feed(PgWireBackendMessage::ParameterStatus(status)).await?;
            }
            client.metadata_mut().insert(name, value);
            Ok(Response::Execution(Tag::new("SET")))
        }
        Control::Show { name } => {
            let value = client
                .metadata()
                .get(&name)
                .cloned()
                .unwrap_or_else(|| default_of(&name).to_owned());
            let schema = shown_schema(&name);
            let row = RecordBatch::try_new(schema.clone(), vec![Arc::new(StringArray::from(vec![value]))])
                .map_err(|error| QueryError::Internal(Box::new(error.into())))?;
            encoded(
                client,
                Rows {
                    schema,
                    stream: stream::iter([Ok(row)]).boxed(),
                },
                format,
            )
        }
    }
}

#[async_trait]
impl SimpleQueryHandler for QueryHandler {
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statements = self.service.parse(query)?;
        let mut responses = Vec::with_capacity(statements.len().max(1));
        for statement in statements {
            let response = match control_of(&statement)? {
                Some(control) => answer_control(client, control, &Format::UnifiedText).await?,
                None => encoded(client, Box::pin(self.run(statement, None)).await?, &Format::UnifiedText)?,
            };
            responses.push(response);
        }
        if responses.is_empty() {
            responses.push(Response::EmptyQuery);
        }
        Ok(responses)
    }
}

#[async_trait]
impl ExtendedQueryHandler for QueryHandler {
    type Statement = PgStatement;
    type QueryParser = StatementParser;

    fn query_parser(&self) -> Arc<StatementParser> {
        self.parser.clone()
    }

    async fn do_query<C>(
        &self,
        client: &mut C,
        portal: &Portal<PgStatement>,
        _max_rows: usize,
    ) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let parsed = &portal.statement.statement;
        if let Some(control) = parsed.control.clone() {
            return answer_control(client, control, &portal.result_column_format).await;
        }
        let values = (!parsed.parameters.is_empty())
            .then(|| bound_values(portal))
            .transpose()?;
        let rows = Box::pin(self.run(parsed.statement.clone(), values)).await?;
        encoded(client, rows, &portal.result_column_format)
    }
}

fn bound_values(portal: &Portal<PgStatement>) -> PgWireResult<ParamValues> {
    let parameters = &portal.statement.statement.parameters;
    let types: Vec<Option<&DataType>> = parameters.iter().map(|(_, kind)| kind.as_ref()).collect();
    let wire_types = wire_types(parameters)?;
    let wire_types: Vec<Option<&Type>> = wire_types.iter().map(Some).collect();
    let ParamValues::List(values) = deserialize_parameters_with_server_types(portal, &types, &wire_types)? else {
        return Err(QueryError::Parameters {
            problem: "they have names".to_owned(),
        }
        .into());
    };
    let values: Vec<ScalarValue> = values.into_iter().map(|value| value.value).collect();
    Ok(parameter_values(parameters, values)?)
}

fn wire_types(parameters: &[(String, Option<DataType>)]) -> PgWireResult<Vec<Type>> {
    parameters
        .iter()
        .map(|(_, kind)| kind.as_ref().map_or(Ok(Type::UNKNOWN), into_pg_type))
        .collect()
}

/// Parses and plans statements of the extended protocol. Plans are made in a session of their own: only their types are kept.
pub struct StatementParser {
    service: Arc<PgService>,
}

impl Debug for StatementParser {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("StatementParser").finish_non_exhaustive()
    }
}

#[async_trait]
impl QueryParser for StatementParser {
    type Statement = PgStatement;

    async fn parse_sql<C>(&self, _client: &C, sql: &str, _types: &[Option<Type>]) -> PgWireResult<Option<PgStatement>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let mut statements = self.service.parse(sql)?.into_iter();
        let statement = match (statements.next(), statements.next()) {
            (None, _) => return Ok(None),
            (Some(statement), None) => statement,
            (Some(_), Some(_)) => {
                return Err(QueryError::Syntax {
                    problem: "a prepared statement is one statement".to_owned(),
                }
                .into());
            }
        };
        if let Some(control) = control_of(&statement)? {
            let schema = match &control {
                Control::Show { name } => shown_schema(name),
                _ => Arc::new(Schema::empty()),
            };
            return Ok(Some(PgStatement {
                statement,
                control: Some(control),
                schema,
                parameters: Vec::new(),
            }));
        }
        let plan = self.service.session().await?.plan_statement(statement.clone()).await?;
        let schema = wire_schema(plan.schema().as_arrow());
        Ok(Some(PgStatement {
            statement,
            control: None,
            schema,
            parameters: parameters_of(&plan)?,
        }))
    }

    fn get_parameter_types(&self, statement: &PgStatement) -> PgWireResult<Vec<Type>> {
        wire_types(&statement.parameters)
    }

    fn get_result_schema(&self, statement: &PgStatement, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        arrow_schema_to_pg_fields(&statement.schema, format.unwrap_or(&Format::UnifiedText), None)
    }
}
