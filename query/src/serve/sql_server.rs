//! Both doors for SQL at their addresses, and one query without a door.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use shiyu_schemas::city::City;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::sql_service::{Access, SqlService};
use super::{flight_sql, pgwire};
use crate::error::QueryError;
use crate::table::{Catalog, NewestSource};

/// What the doors are opened with.
#[derive(Debug, Clone)]
pub struct SqlServeOptions {
    /// The data folder; it is only read.
    pub data_dir: PathBuf,
    /// The city, for the tables `areas`, `feeds`, `categories`.
    pub city: Option<Arc<City>>,
    /// Who tells the rows that are not in the tables' files yet, if anybody does.
    pub newest: Option<Arc<dyn NewestSource>>,
    /// Address of Flight SQL; port 0 takes a free one.
    pub flight: SocketAddr,
    /// Address of PostgreSQL's protocol; port 0 takes a free one.
    pub postgres: SocketAddr,
    /// Certificate chain and key, PEM.
    pub tls: Option<(Vec<u8>, Vec<u8>)>,
    /// Who may ask.
    pub access: Access,
    /// Memory of all queries together, bytes.
    pub memory_bytes: usize,
}

/// Where the doors are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundAddresses {
    /// Of Flight SQL.
    pub flight: SocketAddr,
    /// Of PostgreSQL's protocol.
    pub postgres: SocketAddr,
}

/// Opens both doors, tells where they are, and serves until `stop`. Addresses that are not loopback need TLS and tokens; what is wrong
/// with a certificate ends it before anything is served.
pub async fn serve_sql(
    options: SqlServeOptions,
    ready: oneshot::Sender<BoundAddresses>,
    stop: CancellationToken,
) -> Result<(), QueryError> {
    let guarded = options.tls.is_some() && options.access.needs_token();
    for address in [options.flight, options.postgres] {
        if !address.ip().is_loopback() && !guarded {
            return Err(QueryError::Exposed { address });
        }
    }
    let tls = options
        .tls
        .as_ref()
        .map(|(chain, key)| tls_config(chain, key))
        .transpose()?;
    let (city, newest) = (options.city.clone(), options.newest.clone());
    let catalog = Arc::new(Catalog::open_with(&options.data_dir, city, newest).await?);
    let service = Arc::new(SqlService::new(
        catalog.clone(),
        options.access.clone(),
        options.memory_bytes,
    )?);
    let postgres = Arc::new(pgwire::service(catalog, options.access.clone(), options.memory_bytes).await?);
    let flight_listener = listen(options.flight).await?;
    let postgres_listener = listen(options.postgres).await?;
    let bound = BoundAddresses {
        flight: address_of(&flight_listener)?,
        postgres: address_of(&postgres_listener)?,
    };
    info!(flight = %bound.flight, postgres = %bound.postgres, tls = tls.is_some(), "sql doors are open");
    if ready.send(bound).is_err() {
        info!("nobody waits for the addresses");
    }
    let flight = flight_sql::serve(service, flight_listener, options.tls, stop.clone());
    let postgres = pgwire::serve(postgres, postgres_listener, tls, stop.clone());
    // A door that fails closes the other.
    let both = async { tokio::try_join!(flight, postgres) };
    let ended = both.await;
    stop.cancel();
    ended.map(|_both| ())
}

/// Runs one query over a data folder, for `shiyu sql`.
pub async fn run_query(
    data_dir: &Path,
    city: Option<Arc<City>>,
    sql: &str,
) -> Result<(SchemaRef, Vec<RecordBatch>), QueryError> {
    const MEMORY_BYTES: usize = 512 << 20;
    let catalog = Arc::new(Catalog::open(data_dir, city).await?);
    let service = SqlService::new(catalog, Access::Loopback, MEMORY_BYTES)?;
    let rows = service.query(sql, None).await?;
    let schema = rows.schema.clone();
    Ok((schema, rows.collect().await?))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, QueryError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| QueryError::Listen { address, source })
}

fn address_of(listener: &TcpListener) -> Result<SocketAddr, QueryError> {
    listener.local_addr().map_err(|source| QueryError::Door {
        door: "sql",
        source: Box::new(source),
    })
}

fn tls_config(chain: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, QueryError> {
    let told = |problem: String| QueryError::Tls { problem };
    let chain = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| told(error.to_string()))?;
    if chain.is_empty() {
        return Err(told("the file holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| told(error.to_string()))?;
    // The Flight door's transport asks for the process-wide provider; one that is there already serves as well.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _raced = rustls::crypto::aws_lc_rs::default_provider().install_default().is_err();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| told(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| told(error.to_string()))?;
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
#[path = "sql_server_tests.rs"]
mod tests;
