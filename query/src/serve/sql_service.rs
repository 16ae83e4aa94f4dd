//! What all doors for SQL share: who may ask, how many at a time, how a query runs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::QueryError;
use crate::session::{Rows, Session, SessionFactory, parameter_values, parameters_of};
use crate::table::Catalog;
use crate::wire::wire_schema;

/// Queries that run at a time; more wait.
pub const RUNNING_MAX: usize = 8;
const WAIT_MAX: Duration = Duration::from_secs(10);
const HASH_BYTES: usize = 32;

/// SHA-256 of a token. Tokens are long and random, so that no salt is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashedToken([u8; HASH_BYTES]);

impl HashedToken {
    /// Hashes a token.
    pub fn of(token: &str) -> Self {
        let mut hash = [0; HASH_BYTES];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }
}

impl fmt::Debug for HashedToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HashedToken(***)")
    }
}

impl FromStr for HashedToken {
    type Err = hex::FromHexError;

    /// Reads 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut hash = [0; HASH_BYTES];
        hex::decode_to_slice(text, &mut hash)?;
        Ok(Self(hash))
    }
}

/// Who may ask.
#[derive(Debug, Clone)]
pub enum Access {
    /// Whoever reaches a loopback address.
    Loopback,
    /// Who shows one of these tokens.
    Tokens(Vec<HashedToken>),
}

impl Access {
    /// Whether a token is needed.
    pub fn needs_token(&self) -> bool {
        matches!(self, Self::Tokens(_))
    }

    /// Checks a token; all known ones are compared, in constant time.
    pub fn check(&self, token: Option<&str>) -> Result<(), QueryError> {
        let Self::Tokens(known) = self else { return Ok(()) };
        let shown = HashedToken::of(token.ok_or(QueryError::Unauthenticated)?);
        let matching = known
            .iter()
            .filter(|hash| verify_slices_are_equal(&hash.0, &shown.0).is_ok())
            .count();
        if matching == 0 {
            Err(QueryError::Unauthenticated)
        } else {
            Ok(())
        }
    }
}

/// A query whose schemas are known.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Its text.
    pub sql: String,
    /// Columns of its result, as clients get them.
    pub schema: SchemaRef,
    /// Its parameters in order, with their types where they are known.
    pub parameters: Vec<(String, Option<DataType>)>,
}

/// The service behind the doors. Keeps nothing between calls: each has a session of its own, at the newest snapshot.
#[derive(Debug)]
pub struct SqlService {
    factory: SessionFactory,
    access: Access,
    running: Arc<Semaphore>,
}

impl SqlService {
    /// Serves the tables of a catalog; all queries together may use `memory_bytes`.
    pub fn new(catalog: Arc<Catalog>, access: Access, memory_bytes: usize) -> Result<Self, QueryError> {
        Self::extended(catalog, access, memory_bytes, |_context| Ok(()))
    }

    /// The same for a door that adds functions of its own.
    pub(crate) fn extended(
        catalog: Arc<Catalog>,
        access: Access,
        memory_bytes: usize,
        extend: impl FnOnce(&SessionContext) -> Result<(), DataFusionError>,
    ) -> Result<Self, QueryError> {
        let factory = SessionFactory::new(catalog, memory_bytes, extend)?;
        Ok(Self {
            factory,
            access,
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
        })
    }

    /// Who may ask.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// A session of its own, at the newest snapshot.
    pub async fn session(&self) -> Result<Session, QueryError> {
        self.factory.session().await
    }

    /// Waits for a turn, but not for long.
    pub(crate) async fn turn(&self) -> Result<OwnedSemaphorePermit, QueryError> {
        let busy = QueryError::Busy {
            what: "queries",
            limit: RUNNING_MAX,
        };
        match tokio::time::timeout(WAIT_MAX, self.running.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(busy),
        }
    }

    /// Finds the schemas of a query without running it.
    pub async fn prepare(&self, sql: &str) -> Result<Prepared, QueryError> {
        let plan = self.session().await?.plan(sql).await?;
        let schema = wire_schema(plan.schema().as_arrow());
        Ok(Prepared {
            sql: sql.to_owned(),
            schema,
            parameters: parameters_of(&plan)?,
        })
    }

    /// The schema of a query's result with these parameters: types of a result may follow from them.
    pub async fn schema(&self, sql: &str, parameters: Option<Vec<ScalarValue>>) -> Result<SchemaRef, QueryError> {
        let session = self.session().await?;
        let plan = session.plan(sql).await?;
        let values = parameters
            .map(|values| parameter_values(&parameters_of(&plan)?, values))
            .transpose()?;
        Ok(wire_schema(Session::bind(plan, values)?.schema().as_arrow()))
    }

    /// Runs a query with these parameters.
    pub async fn query(&self, sql: &str, parameters: Option<Vec<ScalarValue>>) -> Result<Rows, QueryError> {
        let turn = self.turn().await?;
        let session = self.session().await?;
        let plan = session.plan(sql).await?;
        let values = parameters
            .map(|values| parameter_values(&parameters_of(&plan)?, values))
            .transpose()?;
        let plan = Session::bind(plan, values)?;
        session.run(plan, Some(turn)).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_a_known_token_opens_and_none_is_printed() {
        let access = Access::Tokens(vec![HashedToken::of("one"), HashedToken::of("two")]);
        access.check(Some("two")).unwrap();
        assert!(access.check(Some("three")).is_err());
        assert!(access.check(Some("")).is_err());
        assert!(access.check(None).is_err());
        assert!(Access::Tokens(Vec::new()).check(Some("one")).is_err());
        assert!(!format!("{access:?}").contains(char::is_numeric));
    }
}
