//! Functions that PostgreSQL clients expect, beside those of `datafusion-pg-catalog`. They are for clients, not for analysts: each
//! answers one constant.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::MemoryCatalogProvider;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::prelude::SessionContext;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::setup_pg_catalog;

use super::unanswerable::unanswerable;
use crate::table::{CATALOG_NAME, SCHEMA_NAME};

/// The version clients adapt to.
pub(super) const SERVER_VERSION: &str = "16.6 (Shiyu)";

/// A function of one answer, whatever it is asked.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Constant {
    name: &'static str,
    signature: Signature,
    value: ScalarValue,
}

impl Constant {
    fn function(name: &'static str, argument_counts: &[usize], value: ScalarValue) -> ScalarUDF {
        let counts = argument_counts.iter().map(|&count| match count {
            0 => TypeSignature::Nullary,
            count => TypeSignature::Any(count),
        });
        let signature = Signature::one_of(counts.collect(), Volatility::Stable);
        ScalarUDF::new_from_impl(Self { name, signature, value })
    }
}

impl ScalarUDFImpl for Constant {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.value.data_type())
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Scalar(self.value.clone()))
    }
}

/// Adds the functions of `pg_catalog` and ours. The tables of `pg_catalog` are added to each session.
pub(super) fn extend(context: &SessionContext) -> Result<()> {
    // Only for the set-up: sessions have a list of catalogs of their own.
    context.register_catalog(CATALOG_NAME, Arc::new(MemoryCatalogProvider::new()));
    setup_pg_catalog(context, CATALOG_NAME, EmptyContextProvider).map_err(|error| *error)?;
    let text = |value: &str| ScalarValue::Utf8(Some(value.to_owned()));
    let no_text = || ScalarValue::Utf8(None);
    let yes = || ScalarValue::Boolean(Some(true));
    let functions = [
        Constant::function("version", &[0], text(&format!("PostgreSQL {SERVER_VERSION}"))),
        Constant::function("current_schema", &[0], text(SCHEMA_NAME)),
        Constant::function("pg_get_serial_sequence", &[2], no_text()),
        Constant::function("pg_function_is_visible", &[1], yes()),
        Constant::function("pg_type_is_visible", &[1], yes()),
        Constant::function("pg_opclass_is_visible", &[1], yes()),
        Constant::function("pg_collation_is_visible", &[1], yes()),
        Constant::function("pg_get_viewdef", &[1, 2], no_text()),
        Constant::function("pg_get_indexdef", &[1, 3], no_text()),
        Constant::function("pg_get_function_identity_arguments", &[1], text("")),
        Constant::function("pg_get_function_result", &[1], no_text()),
        Constant::function("pg_get_function_arguments", &[1], text("")),
        Constant::function("shobj_description", &[2], no_text()),
        // How much room tables take is not told by table: their files lie in one folder.
        Constant::function("pg_size_pretty", &[1], no_text()),
        Constant::function("pg_table_size", &[1], ScalarValue::Int64(None)),
        Constant::function("pg_database_size", &[1], ScalarValue::Int64(None)),
        Constant::function("pg_tablespace_location", &[1], text("")),
        Constant::function("pg_operator_is_visible", &[1], yes()),
        Constant::function("pg_get_ruledef", &[1, 2], no_text()),
        Constant::function("pg_is_in_recovery", &[0], ScalarValue::Boolean(Some(false))),
        Constant::function("txid_current", &[0], ScalarValue::Int64(Some(1))),
        // UTF8, the one encoding there is.
        Constant::function("pg_char_to_encoding", &[1], ScalarValue::Int32(Some(6))),
        Constant::function("getdatabaseencoding", &[0], text("UTF8")),
    ];
    for function in functions {
        context.register_udf(function);
    }
    Ok(())
}

const NO_NUMBER: &str = "CAST(NULL AS INT)";

/// Parts of what clients ask that the planner cannot plan, and what they come to here: there are no keys, no composite types, no rights to
/// list, no options.
const REWRITTEN: &[(&str, &str)] = &[
    // Names without a schema are looked up in ours only.
    ("'pg_class'::", "'pg_catalog.pg_class'::"),
    ("'pg_namespace'::", "'pg_catalog.pg_namespace'::"),
    ("'pg_proc'::", "'pg_catalog.pg_proc'::"),
    ("'pg_type'::", "'pg_catalog.pg_type'::"),
    ("(information_schema._pg_expandarray(i.indkey)).n", NO_NUMBER),
    ("information_schema._pg_expandarray(i.indkey)", NO_NUMBER),
    ("(result.KEYS).x", NO_NUMBER),
    ("(i.keys).x", NO_NUMBER),
    ("typinput='pg_catalog.array_in'::regproc", "typinput='array_in'"),
    (
        "(SELECT c.relkind = 'c' FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid)",
        "false",
    ),
    // psql \dO: the name it has since version 17.
    ("c.colliculocale", "c.colllocale"),
    // psql \d+
    (
        "pg_catalog.array_to_string(c.reloptions || array(select 'toast.' || x from pg_catalog.unnest(tc.reloptions) x), ', ')",
        "''",
    ),
    // psql \du
    (
        "ARRAY(SELECT b.rolname
        FROM pg_catalog.pg_auth_members m
        JOIN pg_catalog.pg_roles b ON (m.roleid = b.oid)
        WHERE m.member = r.oid)",
        "''",
    ),
];

/// What psql asks for as a list made of a question, by a part of it: rights to columns and policies (\dp), checks of domains (\dD).
const EMPTY_LISTS: &[&str] = &["attacl IS NOT NULL", "FROM pg_catalog.pg_policy", "t.oid = r.contypid"];
const LIST_OF: &str = "pg_catalog.array_to_string(ARRAY(";

/// The text with lists that are always empty as NULL.
fn without_empty_lists(sql: &str) -> Cow<'_, str> {
    let mut written = String::new();
    let mut rest = sql;
    while let Some(start) = rest.find(LIST_OF) {
        let Some(length) = call_length(&rest[start..]) else {
            break;
        };
        let (before, call, behind) = (&rest[..start], &rest[start..start + length], &rest[start + length..]);
        let is_empty = EMPTY_LISTS.iter().any(|mark| call.contains(mark));
        written.push_str(before);
        written.push_str(if is_empty { "CAST(NULL AS TEXT)" } else { call });
        rest = behind;
    }
    if written.is_empty() {
        return Cow::Borrowed(sql);
    }
    written.push_str(rest);
    Cow::Owned(written)
}

/// Bytes of the call that `sql` begins with, up to its closing parenthesis; `None` where that is missing.
fn call_length(sql: &str) -> Option<usize> {
    let (mut depth, mut is_quoted) = (0_usize, false);
    for (at, byte) in sql.bytes().enumerate() {
        match byte {
            b'\'' => is_quoted = !is_quoted,
            b'(' if !is_quoted => depth += 1,
            b')' if !is_quoted => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// A text with what the planner cannot plan rewritten.
pub(super) fn rewritten(sql: &str) -> Cow<'_, str> {
    if let Some(question) = unanswerable(sql) {
        let columns = question.iter().map(|name| format!("CAST(NULL AS TEXT) AS \"{name}\""));
        return Cow::Owned(format!("SELECT {} WHERE false", columns.collect::<Vec<_>>().join(", ")));
    }
    REWRITTEN
        .iter()
        .fold(without_empty_lists(sql), |text, (part, instead)| {
            if text.contains(part) {
                Cow::Owned(text.replace(part, instead))
            } else {
                text
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_keys_are_taken_out_of_what_jdbc_asks() {
        let sql = "SELECT (information_schema._pg_expandarray(i.indkey)).n AS key_seq WHERE 1 = (result.KEYS).x";
        assert_eq!(
            rewritten(sql),
            "SELECT CAST(NULL AS INT) AS key_seq WHERE 1 = CAST(NULL AS INT)"
        );
        assert_eq!(rewritten("SELECT 1"), "SELECT 1");
    }

    #[test]
    fn lists_of_rights_to_columns_are_null_and_others_stay() {
        let rights =
            "pg_catalog.array_to_string(ARRAY(SELECT attname || E':(\\n' FROM a WHERE attacl IS NOT NULL), E'\\n')";
        let other = "pg_catalog.array_to_string(ARRAY(SELECT 1), ')')";
        assert_eq!(
            rewritten(&format!("SELECT {rights} AS a, {other}, ({rights})")),
            format!("SELECT CAST(NULL AS TEXT) AS a, {other}, (CAST(NULL AS TEXT))")
        );
        let cut = &rights[..rights.len() - 1];
        assert_eq!(rewritten(cut), cut);
    }

    #[test]
    fn a_question_about_foreign_keys_is_answered_with_no_rows() {
        let sql = "SELECT current_database() AS \"PKTABLE_CAT\" WHERE pka.attnum = con.confkey[pos.n]";
        let answer = rewritten(sql);
        assert!(answer.starts_with("SELECT CAST(NULL AS TEXT) AS \"PKTABLE_CAT\", "));
        assert!(answer.ends_with("AS \"DEFERRABILITY\" WHERE false"));
    }
}
