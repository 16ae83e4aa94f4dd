//! SET, SHOW, BEGIN, SAVEPOINT and the like: a closed list that changes nothing but what the client is told back.

use datafusion::sql::sqlparser::ast::{Set, Statement};

use super::shims::SERVER_VERSION;
use crate::error::QueryError;
use crate::table::{CATALOG_NAME, SCHEMA_NAME};

/// Variables a client may set, and how their value is told when it did not.
const VARIABLES: &[(&str, &str)] = &[
    ("application_name", ""),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("client_min_messages", "notice"),
    ("datestyle", "ISO, YMD"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "on"),
    ("extra_float_digits", "1"),
    ("idle_in_transaction_session_timeout", "0"),
    ("intervalstyle", "postgres"),
    ("lock_timeout", "0"),
    ("row_security", "on"),
    ("search_path", SCHEMA_NAME),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "30s"),
    ("timezone", "Etc/UTC"),
];

/// Variables a client may only look at.
const CONSTANTS: &[(&str, &str)] = &[
    ("catalogs", CATALOG_NAME),
    ("integer_datetimes", "on"),
    ("is_superuser", "off"),
    ("max_identifier_length", "63"),
    ("max_index_keys", "32"),
    ("server_encoding", "UTF8"),
    ("server_version", SERVER_VERSION),
    ("server_version_num", "160006"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "on"),
];

/// What a client hears about by itself when it changes.
const REPORTED: &[(&str, &str)] = &[
    ("application_name", "application_name"),
    ("client_encoding", "client_encoding"),
    ("datestyle", "DateStyle"),
    ("intervalstyle", "IntervalStyle"),
    ("standard_conforming_strings", "standard_conforming_strings"),
    ("timezone", "TimeZone"),
];

/// What a statement comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Control {
    /// Answered with this tag, and nothing else.
    Done(&'static str),
    /// A transaction starts: nothing can change in it.
    Start,
    /// It ends.
    End(&'static str),
    /// A variable gets a value.
    Set { name: String, value: String },
    /// A variable's value is asked for.
    Show { name: String },
}

/// What a statement comes to, if it is one of these.
pub(super) fn control_of(statement: &Statement) -> Result<Option<Control>, QueryError> {
    let control = match statement {
        Statement::StartTransaction { .. } => Control::Start,
        Statement::Commit { .. } => Control::End("COMMIT"),
        Statement::Rollback { savepoint: Some(_), .. } => Control::Done("ROLLBACK"),
        Statement::Rollback { .. } => Control::End("ROLLBACK"),
        Statement::Savepoint { .. } => Control::Done("SAVEPOINT"),
        Statement::ReleaseSavepoint { .. } => Control::Done("RELEASE"),
        Statement::Discard { .. } => Control::Done("DISCARD ALL"),
        Statement::Deallocate { .. } => Control::Done("DEALLOCATE"),
        Statement::Set(set) => set_of(set)?,
        Statement::ShowVariable { variable } => {
            let words: Vec<String> = variable.iter().map(|word| word.value.to_lowercase()).collect();
            let name = match words.join(" ").as_str() {
                "transaction isolation level" => "transaction_isolation".to_owned(),
                "time zone" => "timezone".to_owned(),
                other => other.to_owned(),
            };
            known(&name)?;
            Control::Show { name }
        }
        _ => return Ok(None),
    };
    Ok(Some(control))
}

fn set_of(set: &Set) -> Result<Control, QueryError> {
    let denied = |what: String| QueryError::Denied { what };
    match set {
        Set::SingleAssignment { variable, values, .. } => {
            let name = variable.to_string().to_lowercase();
            if !VARIABLES.iter().any(|(known, _)| *known == name) {
                return Err(denied(format!("SET {name}")));
            }
            let values: Vec<String> = values.iter().map(|value| unquoted(&value.to_string())).collect();
            Ok(Control::Set {
                name,
                value: values.join(", "),
            })
        }
        Set::SetTimeZone { value, .. } => Ok(Control::Set {
            name: "timezone".to_owned(),
            value: unquoted(&value.to_string()),
        }),
        Set::SetNames { .. } | Set::SetNamesDefault {} | Set::SetTransaction { .. } | Set::SetSessionParam(_) => {
            Ok(Control::Done("SET"))
        }
        _ => Err(denied("this SET".to_owned())),
    }
}

fn unquoted(text: &str) -> String {
    text.trim_matches('\'').trim_matches('"').to_owned()
}

fn known(name: &str) -> Result<&'static str, QueryError> {
    let found = VARIABLES.iter().chain(CONSTANTS).find(|(known, _)| *known == name);
    found.map(|(_, value)| *value).ok_or_else(|| QueryError::Unknown {
        problem: format!("unrecognized configuration parameter \"{name}\""),
        sqlstate: "42704",
    })
}

/// All variables, with their value when nobody set them.
pub(super) fn settings() -> impl Iterator<Item = (&'static str, &'static str)> {
    VARIABLES.iter().chain(CONSTANTS).copied()
}

/// The value of a variable nobody set.
pub(super) fn default_of(name: &str) -> &'static str {
    known(name).unwrap_or_default()
}

/// The name under which a client hears of a change by itself.
pub(super) fn reported_name(name: &str) -> Option<&'static str> {
    REPORTED
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, reported)| *reported)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn control(sql: &str) -> Result<Option<Control>, QueryError> {
        control_of(&Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap()[0])
    }

    #[test]
    fn clients_may_set_what_changes_nothing_and_nothing_else() {
        let set = Control::Set {
            name: "extra_float_digits".to_owned(),
            value: "3".to_owned(),
        };
        assert_eq!(control("SET extra_float_digits = 3").unwrap(), Some(set));
        assert!(matches!(
            control("SET datafusion.runtime.memory_limit = '100G'"),
            Err(QueryError::Denied { .. })
        ));
        assert_eq!(control("SAVEPOINT a").unwrap(), Some(Control::Done("SAVEPOINT")));
        assert_eq!(
            control("ROLLBACK TO SAVEPOINT a").unwrap(),
            Some(Control::Done("ROLLBACK"))
        );
        assert_eq!(control("ROLLBACK").unwrap(), Some(Control::End("ROLLBACK")));
        let show = Control::Show {
            name: "transaction_isolation".to_owned(),
        };
        assert_eq!(control("SHOW TRANSACTION ISOLATION LEVEL").unwrap(), Some(show));
        assert!(control("SHOW data_directory").is_err());
        assert_eq!(control("SELECT 1").unwrap(), None);
    }
}
