//! Prepared statements of Flight SQL: kept by a random handle, the least used ones forgotten first.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_lc_rs::rand;
use bytes::Bytes;
use datafusion::common::ScalarValue;

use crate::error::QueryError;
use crate::serve::sql_service::Prepared;

/// Statements kept at most.
const STATEMENTS_MAX: usize = 1_000;
const HANDLE_BYTES: usize = 16;

/// A prepared statement and what is bound to it.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) prepared: Prepared,
    pub(super) values: Option<Vec<ScalarValue>>,
    used: u64,
}

#[derive(Debug, Default)]
struct Kept {
    statements: HashMap<Bytes, Statement>,
    clock: u64,
}

/// The statements of all callers.
#[derive(Debug, Default)]
pub(super) struct Statements(Mutex<Kept>);

impl Statements {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a statement; the handle is what a client names it by.
    pub(super) fn keep(&self, prepared: Prepared) -> Result<Bytes, QueryError> {
        let mut random = [0; HANDLE_BYTES];
        rand::fill(&mut random).map_err(|_failed| QueryError::Busy {
            what: "random numbers",
            limit: 0,
        })?;
        let handle = Bytes::from(hex::encode(random));
        let mut kept = self.lock();
        if kept.statements.len() >= STATEMENTS_MAX {
            let oldest = kept
                .statements
                .iter()
                .min_by_key(|(_, statement)| statement.used)
                .map(|(handle, _)| handle.clone());
            if let Some(oldest) = oldest {
                kept.statements.remove(&oldest);
            }
        }
        kept.clock += 1;
        let used = kept.clock;
        kept.statements.insert(
            handle.clone(),
            Statement {
                prepared,
                values: None,
                used,
            },
        );
        Ok(handle)
    }

    /// A statement by its handle.
    pub(super) fn get(&self, handle: &Bytes) -> Result<Statement, QueryError> {
        let mut kept = self.lock();
        kept.clock += 1;
        let now = kept.clock;
        let statement = kept.statements.get_mut(handle).ok_or(QueryError::UnknownStatement)?;
        statement.used = now;
        Ok(statement.clone())
    }

    /// Binds values to a statement.
    pub(super) fn bind(&self, handle: &Bytes, values: Vec<ScalarValue>) -> Result<(), QueryError> {
        let mut kept = self.lock();
        kept.statements
            .get_mut(handle)
            .ok_or(QueryError::UnknownStatement)?
            .values = Some(values);
        Ok(())
    }

    /// Forgets a statement.
    pub(super) fn forget(&self, handle: &Bytes) {
        self.lock().statements.remove(handle);
    }
}
