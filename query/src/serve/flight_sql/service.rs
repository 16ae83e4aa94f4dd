//! Queries and prepared statements of Flight SQL, and the plumbing of its metadata calls.
//!
//! A FlightInfo promises exactly the schema its stream has. A ticket of a query is its text, so that nothing is kept between the two
//! calls; what is listed has its own command as ticket. Parameters are `$1`, `$2` … or `?`.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::metadata::{SqlInfoData, XdbcTypeInfoData};
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandGetXdbcTypeInfo,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementQuery, CommandStatementUpdate,
    DoPutPreparedStatementResult, ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage, SchemaAsIpc,
    Ticket,
};
use bytes::Bytes;
use datafusion::common::ScalarValue;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};

use super::statements::Statements;
use super::{info, metadata, token_of};
use crate::error::QueryError;
use crate::serve::sql_service::SqlService;
use crate::session::Rows;

type DoGet = Response<<FlightDoor as FlightService>::DoGetStream>;
type Info = Response<FlightInfo>;

/// The door.
pub struct FlightDoor {
    service: Arc<SqlService>,
    statements: Statements,
    sql_info: SqlInfoData,
    type_info: XdbcTypeInfoData,
}

impl std::fmt::Debug for FlightDoor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("FlightDoor")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

impl FlightDoor {
    /// A door to the service.
    pub async fn new(service: Arc<SqlService>) -> Result<Self, QueryError> {
        let failed = |error: FlightError| QueryError::Door {
            door: "flight",
            source: Box::new(error),
        };
        let state = service.session().await?.context().state();
        let mut functions: Vec<String> = state.scalar_functions().keys().cloned().collect();
        functions.sort();
        Ok(Self {
            service,
            statements: Statements::default(),
            sql_info: info::sql_info(&functions).map_err(failed)?,
            type_info: info::type_info().map_err(failed)?,
        })
    }
}

fn info_of(ticket: &impl ProstMessageExt, schema: &Schema, request: Request<FlightDescriptor>) -> Result<Info, Status> {
    let ticket = Ticket {
        ticket: ticket.as_any().encode_to_vec().into(),
    };
    let info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(|error| Status::internal(format!("cannot encode a schema: {error}")))?
        .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
        .with_descriptor(request.into_inner());
    Ok(Response::new(info))
}

fn rows_of(rows: Rows) -> DoGet {
    let batches = rows
        .stream
        .map_err(|error| FlightError::Tonic(Box::new(Status::from(error))));
    let encoded = FlightDataEncoderBuilder::new().with_schema(rows.schema).build(batches);
    Response::new(Box::pin(encoded.map_err(Status::from)))
}

fn batch_of(batch: RecordBatch) -> DoGet {
    let schema = batch.schema();
    rows_of(Rows {
        schema,
        stream: stream::iter([Ok(batch)]).boxed(),
    })
}

fn no_rows(schema: SchemaRef) -> DoGet {
    rows_of(Rows {
        schema,
        stream: stream::empty().boxed(),
    })
}

fn listed(batch: Result<RecordBatch, FlightError>) -> Result<DoGet, Status> {
    batch
        .map(batch_of)
        .map_err(|error| Status::internal(format!("cannot list: {error}")))
}

fn schema_bytes(schema: &Schema) -> Result<Bytes, Status> {
    let message = IpcMessage::try_from(SchemaAsIpc::new(schema, &IpcWriteOptions::default()));
    message
        .map(|message| message.0)
        .map_err(|error| Status::internal(format!("cannot encode a schema: {error}")))
}

/// The one row of parameters a client binds.
async fn bound_row(stream: PeekableFlightDataStream) -> Result<Option<Vec<ScalarValue>>, Status> {
    let batches =
        FlightRecordBatchStream::new_from_flight_data(stream.map_err(|status| FlightError::Tonic(Box::new(status))));
    let unfit = |problem: &str| {
        Status::from(QueryError::Parameters {
            problem: problem.to_owned(),
        })
    };
    let batches: Vec<RecordBatch> = batches
        .take(2)
        .try_collect()
        .await
        .map_err(|_error| unfit("they cannot be read"))?;
    let mut rows = batches.iter().filter(|batch| batch.num_rows() > 0);
    let (first, second) = (rows.next(), rows.next());
    match (first, second) {
        (None, _) => Ok(None),
        (Some(batch), None) if batch.num_rows() == 1 => {
            let values = batch
                .columns()
                .iter()
                .map(|column| ScalarValue::try_from_array(column, 0));
            values
                .collect::<Result<_, _>>()
                .map(Some)
                .map_err(|_error| unfit("a type is not known"))
        }
        _ => Err(unfit("bind one row at a time")),
    }
}

#[tonic::async_trait]
impl FlightSqlService for FlightDoor {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>, Status> {
        // The token was checked before the call came here; where none is needed, any bearer will do.
        let token = token_of(request.metadata()).unwrap_or_else(|| "open".to_owned());
        let reply = HandshakeResponse {
            protocol_version: 0,
            payload: Bytes::from(token.clone()),
        };
        let replies: Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(stream::iter([Ok(reply)]));
        let mut response = Response::new(replies);
        let bearer = format!("Bearer {token}")
            .parse()
            .map_err(|_odd| Status::from(QueryError::Unauthenticated))?;
        response.metadata_mut().insert("authorization", bearer);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Info, Status> {
        let schema = self.service.schema(&query.query, None).await?;
        info_of(
            &TicketStatementQuery {
                statement_handle: query.query.into(),
            },
            &schema,
            request,
        )
    }

    async fn do_get_statement(&self, ticket: TicketStatementQuery, _request: Request<Ticket>) -> Result<DoGet, Status> {
        let sql = std::str::from_utf8(&ticket.statement_handle).map_err(|_odd| QueryError::UnknownStatement)?;
        Ok(rows_of(self.service.query(sql, None).await?))
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        _request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let prepared = self.service.prepare(&query.query).await?;
        let parameters = prepared
            .parameters
            .iter()
            .map(|(name, kind)| Field::new(name, kind.clone().unwrap_or(DataType::Utf8), true));
        let dataset_schema = schema_bytes(&prepared.schema)?;
        let parameter_schema = schema_bytes(&Schema::new(parameters.collect::<Vec<_>>()))?;
        let handle = self.statements.keep(prepared)?;
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle,
            dataset_schema,
            parameter_schema,
        })
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let handle = query.prepared_statement_handle;
        if let Some(values) = bound_row(request.into_inner()).await? {
            self.statements.bind(&handle, values)?;
        }
        Ok(DoPutPreparedStatementResult {
            prepared_statement_handle: Some(handle),
        })
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Info, Status> {
        let statement = self.statements.get(&query.prepared_statement_handle)?;
        let schema = self.service.schema(&statement.prepared.sql, statement.values).await?;
        info_of(&query, &schema, request)
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        _request: Request<Ticket>,
    ) -> Result<DoGet, Status> {
        let statement = self.statements.get(&query.prepared_statement_handle)?;
        Ok(rows_of(
            self.service.query(&statement.prepared.sql, statement.values).await?,
        ))
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        _request: Request<Action>,
    ) -> Result<(), Status> {
        self.statements.forget(&query.prepared_statement_handle);
        Ok(())
    }

    async fn do_put_statement_update(
        &self,
        _command: CommandStatementUpdate,
        _request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(QueryError::Denied {
            what: "a change".to_owned(),
        }
        .into())
    }

    async fn do_put_prepared_statement_update(
        &self,
        _command: CommandPreparedStatementUpdate,
        _request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(QueryError::Denied {
            what: "a change".to_owned(),
        }
        .into())
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Info, Status> {
        info_of(&query, &query.into_builder().schema(), request)
    }

    async fn do_get_catalogs(&self, query: CommandGetCatalogs, _request: Request<Ticket>) -> Result<DoGet, Status> {
        metadata::catalogs(query).map(batch_of)
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Info, Status> {
        info_of(&query, &query.clone().into_builder().schema(), request)
    }

    async fn do_get_schemas(&self, query: CommandGetDbSchemas, _request: Request<Ticket>) -> Result<DoGet, Status> {
        metadata::schemas(query).map(batch_of)
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Info, Status> {
        info_of(&query, &query.clone().into_builder().schema(), request)
    }

    async fn do_get_tables(&self, query: CommandGetTables, _request: Request<Ticket>) -> Result<DoGet, Status> {
        let tables = self.service.session().await?.tables();
        metadata::tables(query, &tables).map(batch_of)
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Info, Status> {
        info_of(&query, &query.into_builder().schema(), request)
    }

    async fn do_get_table_types(
        &self,
        query: CommandGetTableTypes,
        _request: Request<Ticket>,
    ) -> Result<DoGet, Status> {
        metadata::table_types(query).map(batch_of)
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Info, Status> {
        info_of(&query, &query.clone().into_builder(&self.sql_info).schema(), request)
    }

    async fn do_get_sql_info(&self, query: CommandGetSqlInfo, _request: Request<Ticket>) -> Result<DoGet, Status> {
        listed(query.into_builder(&self.sql_info).build())
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Info, Status> {
        info_of(&query, &query.into_builder(&self.type_info).schema(), request)
    }

    async fn do_get_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        _request: Request<Ticket>,
    ) -> Result<DoGet, Status> {
        listed(query.into_builder(&self.type_info).build())
    }

    async fn get_flight_info_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Info, Status> {
        info_of(&query, &metadata::primary_keys(), request)
    }

    async fn do_get_primary_keys(
        &self,
        _query: CommandGetPrimaryKeys,
        _request: Request<Ticket>,
    ) -> Result<DoGet, Status> {
        Ok(no_rows(metadata::primary_keys()))
    }

    async fn get_flight_info_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Info, Status> {
        info_of(&query, &metadata::foreign_keys(), request)
    }

    async fn do_get_exported_keys(
        &self,
        _query: CommandGetExportedKeys,
        _request: Request<Ticket>,
    ) -> Result<DoGet, Status> {
        Ok(no_rows(metadata::foreign_keys()))
    }

    async fn get_flight_info_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Result<Info, Status> {
        info_of(&query, &metadata::foreign_keys(), request)
    }

    async fn do_get_imported_keys(
        &self,
        _query: CommandGetImportedKeys,
        _request: Request<Ticket>,
    ) -> Result<DoGet, Status> {
        Ok(no_rows(metadata::foreign_keys()))
    }

    async fn get_flight_info_cross_reference(
        &self,
        query: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Result<Info, Status> {
        info_of(&query, &metadata::foreign_keys(), request)
    }

    async fn do_get_cross_reference(
        &self,
        _query: CommandGetCrossReference,
        _request: Request<Ticket>,
    ) -> Result<DoGet, Status> {
        Ok(no_rows(metadata::foreign_keys()))
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}
