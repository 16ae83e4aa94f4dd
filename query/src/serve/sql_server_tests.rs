//! The doors: what opens them, and that both tell the same.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::path::Path;

use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt as _;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use super::{BoundAddresses, SqlServeOptions, serve_sql};
use crate::error::QueryError;
use crate::serve::{Access, HashedToken};

const LOOPBACK: &str = "127.0.0.1:0";

fn options(folder: &Path, access: Access) -> SqlServeOptions {
    SqlServeOptions {
        newest: None,
        data_dir: folder.to_owned(),
        city: None,
        flight: LOOPBACK.parse().unwrap(),
        postgres: LOOPBACK.parse().unwrap(),
        tls: None,
        access,
        memory_bytes: 64 << 20,
    }
}

async fn refusal(options: SqlServeOptions) -> QueryError {
    let (ready, _told) = oneshot::channel();
    serve_sql(options, ready, CancellationToken::new()).await.unwrap_err()
}

#[tokio::test]
async fn an_address_others_reach_needs_tls_and_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let open: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let tokens = || Access::Tokens(vec![HashedToken::of("t")]);
    let keys = Some((Vec::new(), Vec::new()));
    let exposed = SqlServeOptions {
        flight: open,
        ..options(folder.path(), tokens())
    };
    assert!(matches!(refusal(exposed).await, QueryError::Exposed { .. }));
    let exposed = SqlServeOptions {
        postgres: open,
        tls: keys.clone(),
        ..options(folder.path(), Access::Loopback)
    };
    assert!(matches!(refusal(exposed).await, QueryError::Exposed { .. }));
    let unusable = SqlServeOptions {
        postgres: open,
        tls: keys,
        ..options(folder.path(), tokens())
    };
    assert!(
        matches!(refusal(unusable).await, QueryError::Tls { .. }),
        "nothing is served in clear"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_known_token_is_told_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (ready, told) = oneshot::channel();
    let stop = CancellationToken::new();
    let access = Access::Tokens(vec![HashedToken::of("good")]);
    let serving = tokio::spawn(serve_sql(options(folder.path(), access), ready, stop.clone()));
    let BoundAddresses { flight, .. } = told.await.unwrap();
    let client = async || {
        let channel = Endpoint::from_shared(format!("http://{flight}"))
            .unwrap()
            .connect()
            .await
            .unwrap();
        FlightSqlServiceClient::new(channel)
    };
    let mut unknown = client().await;
    assert!(unknown.get_catalogs().await.is_err());
    assert!(unknown.handshake("analyst", "bad").await.is_err());
    unknown.set_token("bad".to_owned());
    assert!(unknown.execute("select 1".to_owned(), None).await.is_err());

    let mut known = client().await;
    known.handshake("analyst", "good").await.unwrap();
    let info = known
        .execute("select feed, count(*) as n from events group by feed".to_owned(), None)
        .await
        .unwrap();
    let promised = info.clone().try_decode_schema().unwrap();
    let mut rows = known.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
    while rows.try_next().await.unwrap().is_some() {}
    assert_eq!(
        rows.schema().unwrap().as_ref(),
        &promised,
        "what was promised is what comes"
    );
    stop.cancel();
    serving.await.unwrap().unwrap();
}
