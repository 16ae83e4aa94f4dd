//! PostgreSQL's wire protocol: the door for clients that speak nothing else.
//!
//! - [`query`]: simple and extended queries
//! - `control`: SET, SHOW, BEGIN, SAVEPOINT and the like: a closed list that changes nothing
//! - `startup`: who may come in
//! - `catalog`: `pg_catalog`, with our comments
//! - `shims`: functions that PostgreSQL clients expect, and their questions in words the planner knows
//! - `unanswerable`: their questions about what is not there
//!
//! Each connection has handlers and a session of its own. The catalog tables come from `datafusion-postgres`; its server, its accounts
//! and its hooks are not used. What is wrong with TLS ends the process before anything is served in clear.

mod catalog;
mod control;
pub mod query;
mod shims;
mod startup;
mod unanswerable;

use std::sync::Arc;

use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use pgwire::api::auth::StartupHandler;
use pgwire::api::cancel::{CancelHandler, DefaultCancelHandler};
use pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use pgwire::api::{ConnectionManager, PgWireServerHandlers};
use pgwire::tokio::process_socket;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::catalog::PgTables;
use self::query::QueryHandler;
use self::startup::Startup;
use super::sql_service::{Access, SqlService};
use crate::error::QueryError;
use crate::table::Catalog;

const CONNECTIONS_MAX: usize = 64;

/// What the connections of this door share.
pub struct PgService {
    service: SqlService,
    parser: PostgresCompatibilityParser,
    pg_tables: Arc<PgTables>,
    connections: Arc<ConnectionManager>,
}

impl std::fmt::Debug for PgService {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PgService")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

/// Makes what the door needs.
pub async fn service(catalog: Arc<Catalog>, access: Access, memory_bytes: usize) -> Result<PgService, QueryError> {
    let tables = catalog.tables().await?;
    let pg_tables = PgTables::new(&tables)
        .await
        .map_err(|error| QueryError::Internal(Box::new(error)))?;
    let service = SqlService::extended(catalog, access, memory_bytes, |context| {
        shims::extend(context)?;
        for function in pg_tables.functions() {
            context.register_udf(function);
        }
        Ok(())
    })?;
    Ok(PgService {
        service,
        parser: PostgresCompatibilityParser::new(),
        pg_tables: Arc::new(pg_tables),
        connections: Arc::new(ConnectionManager::new()),
    })
}

/// Serves until `stop`.
pub async fn serve(
    service: Arc<PgService>,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    stop: CancellationToken,
) -> Result<(), QueryError> {
    let acceptor = tls.map(TlsAcceptor::from);
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let socket = tokio::select! {
            () = stop.cancelled() => break,
            _ended = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match socket {
            Ok((socket, peer)) => match free.clone().try_acquire_owned() {
                Ok(permit) => {
                    let connection = serve_connection(service.clone(), socket, acceptor.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(_full) => warn!(%peer, limit = CONNECTIONS_MAX, "refused a connection: too many"),
            },
            Err(error) => warn!(%error, "failed to accept a connection"),
        }
    }
    connections.shutdown().await;
    Ok(())
}

async fn serve_connection(service: Arc<PgService>, socket: TcpStream, acceptor: Option<TlsAcceptor>) {
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%error, "cannot set nodelay");
    }
    let connection = Connection {
        query: Arc::new(QueryHandler::new(service.clone())),
        service,
    };
    if let Err(error) = process_socket(socket, acceptor, connection).await {
        debug!(%error, "a connection ended");
    }
}

/// The handlers of one connection.
struct Connection {
    service: Arc<PgService>,
    query: Arc<QueryHandler>,
}

impl PgWireServerHandlers for Connection {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        self.query.clone()
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        self.query.clone()
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        Arc::new(Startup::new(
            self.service.service.access().clone(),
            self.service.connections.clone(),
        ))
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        Arc::new(DefaultCancelHandler::new(self.service.connections.clone()))
    }
}
