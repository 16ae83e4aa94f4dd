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
        Constant::function("obj_description", &[1, 2], no_text()),
        Constant::function("col_description", &[2], no_text()),
        Constant::function("shobj_description", &[2], no_text()),
        Constant::function("pg_is_in_recovery", &[0], ScalarValue::Boolean(Some(false))),
        Constant::function("txid_current", &[0], ScalarValue::Int64(Some(1))),
    ];
    for function in functions {
        context.register_udf(function);
    }
    Ok(())
}

const NO_NUMBER: &str = "CAST(NULL AS INT)";

/// Parts of what JDBC asks that the planner cannot plan, and what they come to here: there are no keys and no composite types.
const REWRITTEN: &[(&str, &str)] = &[
    ("(information_schema._pg_expandarray(i.indkey)).n", NO_NUMBER),
    ("information_schema._pg_expandarray(i.indkey)", NO_NUMBER),
    ("(result.KEYS).x", NO_NUMBER),
    ("(i.keys).x", NO_NUMBER),
    ("typinput='pg_catalog.array_in'::regproc", "typinput='array_in'"),
    (
        "(SELECT c.relkind = 'c' FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid)",
        "false",
    ),
];

/// A text with these parts rewritten.
pub(super) fn rewritten(sql: &str) -> Cow<'_, str> {
    REWRITTEN.iter().fold(Cow::Borrowed(sql), |text, (part, instead)| {
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
}
