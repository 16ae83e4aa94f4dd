//! Arrow Flight SQL: the first-class door.
//!
//! - [`service`]: queries and prepared statements
//! - `metadata`: catalogs, schemas, tables, keys
//! - `info`: what the server can do, and its types
//! - `statements`: prepared statements, kept for a while
//!
//! Who may ask is checked before any call is looked at: `Authorization: Bearer <token>`, or Basic with the token as password, which
//! Handshake turns into a bearer.

mod info;
mod metadata;
pub mod service;
mod statements;

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Status};

use self::service::FlightDoor;
use super::sql_service::SqlService;
use crate::error::QueryError;

const CALLS_PER_CONNECTION_MAX: usize = 32;
const STREAMS_PER_CONNECTION_MAX: u32 = 128;
const HEADER_BYTES_MAX: u32 = 16 << 10;
const MESSAGE_BYTES_MAX: usize = 4 << 20;
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Clients written in Go leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Serves until `stop`.
pub async fn serve(
    service: Arc<SqlService>,
    listener: TcpListener,
    tls: Option<(Vec<u8>, Vec<u8>)>,
    stop: CancellationToken,
) -> Result<(), QueryError> {
    let failed = |error: tonic::transport::Error| QueryError::Door {
        door: "flight",
        source: Box::new(error),
    };
    let access = service.access().clone();
    let door = FlightDoor::new(service).await?;
    let guarded = tower::ServiceBuilder::new()
        .layer(tonic::service::InterceptorLayer::new(move |request: Request<()>| {
            access.check(token_of(request.metadata()).as_deref())?;
            Ok::<_, Status>(request)
        }))
        .service(FlightServiceServer::new(door).max_decoding_message_size(MESSAGE_BYTES_MAX));
    let mut server = Server::builder()
        .concurrency_limit_per_connection(CALLS_PER_CONNECTION_MAX)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .tcp_nodelay(true);
    if let Some((chain, key)) = tls {
        server = server
            .tls_config(ServerTlsConfig::new().identity(Identity::from_pem(chain, key)))
            .map_err(|error| QueryError::Tls {
                problem: error.to_string(),
            })?;
    }
    server
        .add_service(guarded)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), stop.cancelled_owned())
        .await
        .map_err(failed)
}

/// The token a caller shows.
pub(super) fn token_of(metadata: &MetadataMap) -> Option<String> {
    let header = metadata.get("authorization")?.to_str().ok()?;
    let (scheme, rest) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(rest.trim()).ok()?).ok()?;
    text.split_once(':').map(|(_user, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_token_comes_as_bearer_or_as_the_password_of_basic() {
        let shown = |header: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("authorization", header.parse().unwrap());
            token_of(&metadata)
        };
        assert_eq!(shown("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(shown("Basic bWU6YTpi").as_deref(), Some("a:b"));
        assert_eq!(shown("Basic bWU6YQ==").as_deref(), Some("a"));
        assert_eq!(shown("Basic bWU6YQ").as_deref(), Some("a"), "as Go writes it");
        assert_eq!(shown("Basic ???"), None);
        assert_eq!(shown("Digest x"), None);
    }
}
