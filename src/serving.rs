//! Addresses, access and the doors of one process.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::{Deserialize, Serialize};
use shiyu_ingest::hub::Hub;
use shiyu_ingest::hub::service::IntakeServer;
use shiyu_query::risk::{CompiledModel, EngineOptions, RiskEngine};
use shiyu_query::serve::risk_service::RiskServer;
use shiyu_query::serve::{Access, HashedToken};
use shiyu_schemas::v1;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Status};

use crate::cli::AddressArgs;
use crate::exit::{Exit, Failure, OrExit as _};
use crate::readiness::Readiness;

const KEEP_ALIVE: Duration = Duration::from_secs(20);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const STREAMS_MAX: u32 = 256;
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Where a running hub is, `run/serve.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServeAddresses {
    /// Process.
    pub(crate) pid: u32,
    /// gRPC.
    pub(crate) grpc: SocketAddr,
    /// Arrow Flight SQL.
    pub(crate) flight: SocketAddr,
    /// PostgreSQL wire.
    pub(crate) postgres: SocketAddr,
    /// HTTP.
    pub(crate) http: SocketAddr,
}

impl ServeAddresses {
    /// Reads the file of a data folder.
    pub(crate) fn read(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join("run").join("serve.json");
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read \"{}\"", path.display()))?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Writes the file.
    pub(crate) fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        let folder = data_dir.join("run");
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::write(
            folder.join("serve.json"),
            serde_json::to_vec_pretty(self)?,
        )?)
    }
}

/// Certificate chain and key, PEM.
pub(crate) type TlsFiles = Option<(Vec<u8>, Vec<u8>)>;

/// Reads certificate, key and tokens; what is not loopback needs all of them.
pub(crate) fn access_of(addresses: &AddressArgs) -> Result<(TlsFiles, Access), Failure> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read \"{}\"", path.display()));
    let tls = match (&addresses.tls_cert, &addresses.tls_key) {
        (Some(cert), Some(key)) => Some((read(cert).or_exit(Exit::Config)?, read(key).or_exit(Exit::Config)?)),
        _ => None,
    };
    let access = match &addresses.tokens {
        None => Access::Loopback,
        Some(path) => {
            let text = String::from_utf8(read(path).or_exit(Exit::Config)?).or_exit(Exit::Config)?;
            let tokens: Vec<HashedToken> = text
                .lines()
                .filter_map(|line| line.split_once(':'))
                .map(|(_, token)| HashedToken::of(token.trim()))
                .collect();
            if tokens.is_empty() {
                let error = anyhow!("\"{}\" holds no token; write name:token, one a line", path.display());
                return Err(Failure::new(Exit::Config, error));
            }
            Access::Tokens(tokens)
        }
    };
    let guarded = tls.is_some() && access.needs_token();
    for address in [addresses.grpc, addresses.flight, addresses.postgres] {
        if !address.ip().is_loopback() && !guarded {
            let error = anyhow!(
                "cannot serve at {address}: an address that is not loopback needs --tls-cert, --tls-key and --tokens"
            );
            return Err(Failure::new(Exit::Config, error));
        }
    }
    if !addresses.http.ip().is_loopback() {
        let error = anyhow!(
            "cannot serve HTTP at {}: /metrics is for this machine only",
            addresses.http
        );
        return Err(Failure::new(Exit::Config, error));
    }
    Ok((tls, access))
}

/// Compiles the city's models; errors name model and factor.
pub(crate) fn compile_models(city: &shiyu_schemas::city::City) -> anyhow::Result<Vec<Arc<CompiledModel>>> {
    city.models
        .iter()
        .map(|model| CompiledModel::compile(model).with_context(|| format!("models/{}.yaml", model.model)))
        .collect()
}

/// The engine over a hub's log.
pub(crate) async fn engine_of(hub: &Hub) -> anyhow::Result<RiskEngine> {
    let zone = jiff::tz::TimeZone::get(&hub.city().config.zone)?;
    let models = compile_models(hub.city())?;
    let options = EngineOptions {
        zone,
        models,
        now_us: Box::new(|| jiff::Timestamp::now().as_microsecond()),
        checkpoint: Some(hub.data_dir().join("engine").join("checkpoint")),
    };
    Ok(RiskEngine::open(hub.log(), options).await?)
}

/// Serves gRPC until `stop`: intake, risk, health, reflection.
pub(crate) async fn serve_grpc(
    hub: Arc<Hub>,
    board: Option<Arc<shiyu_query::risk::ScoreBoard>>,
    listener: TcpListener,
    tls: TlsFiles,
    access: Access,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let check = move |request: Request<()>| check_token(&access, request);
    let doors = IntakeServer::new(hub.clone(), stop.clone());
    let operations = v1::operations_service_server::OperationsServiceServer::new(doors.clone());
    let intake =
        v1::intake_service_server::IntakeServiceServer::new(doors).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let risk = board.map(|board| {
        v1::risk_service_server::RiskServiceServer::new(RiskServer::new(board, hub.city().clone(), hub.log()))
    });
    let (health_reporter, health) = tonic_health::server::health_reporter();
    if risk.is_some() {
        health_reporter
            .set_serving::<v1::risk_service_server::RiskServiceServer<RiskServer>>()
            .await;
    }
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .max_concurrent_streams(Some(STREAMS_MAX));
    if let Some((cert, key)) = tls {
        server = server.tls_config(ServerTlsConfig::new().identity(Identity::from_pem(cert, key)))?;
    }
    let layer = tonic::service::InterceptorLayer::new(check);
    server
        .layer(layer)
        .add_service(health)
        .add_service(reflection)
        .add_service(intake)
        .add_service(operations)
        .add_optional_service(risk)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled_owned())
        .await?;
    Ok(())
}

fn check_token(access: &Access, request: Request<()>) -> Result<Request<()>, Status> {
    let token = request
        .metadata()
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    access
        .check(token)
        .map_err(|_refused| Status::unauthenticated("show a token: authorization: Bearer …"))?;
    Ok(request)
}

/// Serves `/healthz`, `/readyz` and `/metrics` until `stop`. `/readyz` answers 503 with the reasons, one a line, while a stage stalls.
pub(crate) async fn serve_http(
    listener: TcpListener,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
    readiness: Arc<Readiness>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    use axum::http::StatusCode;
    use axum::routing::get;
    let ready = move || {
        let readiness = readiness.clone();
        async move {
            match readiness.reasons().await.as_slice() {
                [] => (StatusCode::OK, "ready\n".to_owned()),
                reasons => (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
            }
        }
    };
    let router = axum::Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(move || async move { metrics.render() }));
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await?;
    Ok(())
}
