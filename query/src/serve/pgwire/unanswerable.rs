//! Questions of psql and the JDBC driver that the planner cannot plan, about what is not there: their answers have no rows.

/// The columns of the answer, if `sql` is one of these questions.
pub(super) fn unanswerable(sql: &str) -> Option<&'static [&'static str]> {
    UNANSWERABLE
        .iter()
        .find(|question| question.marks.iter().all(|mark| sql.contains(mark)))
        .map(|question| question.columns)
}

/// Marks by which a question is known, and the columns of its answer.
struct Unanswerable {
    marks: &'static [&'static str],
    columns: &'static [&'static str],
}

/// About languages, comments of rules and triggers, foreign keys, indexes, procedures, text search, settings of roles, functions and types of
/// ours.
const UNANSWERABLE: &[Unanswerable] = &[
    // psql \dL
    Unanswerable {
        marks: &["FROM pg_catalog.pg_language l", "l.lanpltrusted AS"],
        columns: &["Name", "Owner", "Trusted", "Description"],
    },
    // psql \dd
    Unanswerable {
        marks: &["CAST('table constraint' AS pg_catalog.text)", "pg_catalog.pg_trigger t"],
        columns: &["Schema", "Name", "Object", "Description"],
    },
    // psql \dy
    Unanswerable {
        marks: &["FROM pg_catalog.pg_event_trigger e"],
        columns: &["Name", "Event", "Owner", "Enabled", "Function", "Tags"],
    },
    // psql \dX
    Unanswerable {
        marks: &["FROM pg_catalog.pg_statistic_ext es"],
        columns: &["Schema", "Name", "Definition", "Ndistinct", "Dependencies", "MCV"],
    },
    // psql \dF
    Unanswerable {
        marks: &["FROM pg_catalog.pg_ts_config c"],
        columns: &["Schema", "Name", "Description"],
    },
    // psql \dFp
    Unanswerable {
        marks: &["FROM pg_catalog.pg_ts_parser p"],
        columns: &["Schema", "Name", "Description"],
    },
    // psql \dFd
    Unanswerable {
        marks: &["FROM pg_catalog.pg_ts_dict d"],
        columns: &["Schema", "Name", "Description"],
    },
    // psql \dFt
    Unanswerable {
        marks: &["FROM pg_catalog.pg_ts_template t"],
        columns: &["Schema", "Name", "Description"],
    },
    // psql \dconfig
    Unanswerable {
        marks: &["FROM pg_catalog.pg_settings s", "s.setting IS DISTINCT FROM s.boot_val"],
        columns: &["Parameter", "Value"],
    },
    // psql \drds
    Unanswerable {
        marks: &["FROM pg_catalog.pg_db_role_setting s"],
        columns: &["Role", "Database", "Settings"],
    },
    // psql \ddp
    Unanswerable {
        marks: &["FROM pg_catalog.pg_default_acl d"],
        columns: &["Owner", "Schema", "Type", "Access privileges"],
    },
    // psql \df+
    Unanswerable {
        marks: &["FROM pg_catalog.pg_proc p", "pg_get_function_sqlbody(p.oid)"],
        columns: &[
            "Schema",
            "Name",
            "Result data type",
            "Argument data types",
            "Type",
            "Volatility",
            "Parallel",
            "Owner",
            "Security",
            "Access privileges",
            "Language",
            "Source code",
            "Description",
        ],
    },
    // psql \dT+
    Unanswerable {
        marks: &["FROM pg_catalog.pg_type t", "t.typname AS \"Internal name\""],
        columns: &[
            "Schema",
            "Name",
            "Internal name",
            "Size",
            "Elements",
            "Owner",
            "Access privileges",
            "Description",
        ],
    },
    // psql \dc
    Unanswerable {
        marks: &["FROM pg_catalog.pg_conversion c"],
        columns: &["Schema", "Name", "Source", "Destination", "Default?"],
    },
    // psql \deu
    Unanswerable {
        marks: &["FROM pg_catalog.pg_user_mappings um"],
        columns: &["Server", "User name"],
    },
    // psql \dAc
    Unanswerable {
        marks: &["FROM pg_catalog.pg_opclass c", "AS \"Operator class\""],
        columns: &["AM", "Input type", "Storage type", "Operator class", "Default?"],
    },
    Unanswerable {
        marks: &["AS \"PKTABLE_CAT\"", "con.confkey[pos.n]"],
        columns: &[
            "PKTABLE_CAT",
            "PKTABLE_SCHEM",
            "PKTABLE_NAME",
            "PKCOLUMN_NAME",
            "FKTABLE_CAT",
            "FKTABLE_SCHEM",
            "FKTABLE_NAME",
            "FKCOLUMN_NAME",
            "KEY_SEQ",
            "UPDATE_RULE",
            "DELETE_RULE",
            "FK_NAME",
            "PK_NAME",
            "DEFERRABILITY",
        ],
    },
    Unanswerable {
        marks: &["AS INDEX_QUALIFIER", "information_schema._pg_expandarray(i.indkey)"],
        columns: &[
            "TABLE_CAT",
            "TABLE_SCHEM",
            "TABLE_NAME",
            "NON_UNIQUE",
            "INDEX_QUALIFIER",
            "INDEX_NAME",
            "TYPE",
            "ORDINAL_POSITION",
            "COLUMN_NAME",
            "ASC_OR_DESC",
            "CARDINALITY",
            "PAGES",
            "FILTER_CONDITION",
            "REMARKS",
        ],
    },
    Unanswerable {
        marks: &[
            "AS \"PROCEDURE_CAT\"",
            "FROM pg_catalog.pg_namespace n, pg_catalog.pg_proc p",
        ],
        columns: &[
            "PROCEDURE_CAT",
            "PROCEDURE_SCHEM",
            "PROCEDURE_NAME",
            "reserved_1",
            "reserved_2",
            "reserved_3",
            "REMARKS",
            "PROCEDURE_TYPE",
            "SPECIFIC_NAME",
        ],
    },
    Unanswerable {
        marks: &["p.prorettype,p.proargtypes", "p.proallargtypes"],
        columns: &[
            "current_database",
            "nspname",
            "proname",
            "prorettype",
            "proargtypes",
            "typtype",
            "typrelid",
            "proargnames",
            "proargmodes",
            "proallargtypes",
            "oid",
        ],
    },
    Unanswerable {
        marks: &["as \"TYPE_CAT\"", "as \"BASE_TYPE\" from pg_catalog.pg_type t"],
        columns: &[
            "TYPE_CAT",
            "TYPE_SCHEM",
            "TYPE_NAME",
            "CLASS_NAME",
            "DATA_TYPE",
            "REMARKS",
            "BASE_TYPE",
        ],
    },
];
