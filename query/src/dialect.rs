//! What people write for PostgreSQL and the planner knows by another name, or would read as something else without a word.
//!
//! - `areas ->> 'district'` is `json_get_str(areas, 'district')`; `mod(a, b)` is `a % b`
//! - Templates of `to_char`, `to_date` and `to_timestamp`: `'YYYY-MM-DD HH24:MI'` is `'%Y-%m-%d %H:%M'`. A template with a `%` is left as it is.
//!   Names of months and days are not padded.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident,
    ObjectName, Statement, Value, visit_expressions_mut,
};

use crate::error::QueryError;

/// Patterns of PostgreSQL's templates, longest first, and what `chrono` calls them; none where it has no such thing. In either case, but for
/// those in [`CASED`].
const PATTERNS: &[(&str, Option<&str>)] = &[
    ("MONTH", None),
    ("SSSSS", None),
    ("HH24", Some("%H")),
    ("HH12", Some("%I")),
    ("YYYY", Some("%Y")),
    ("IYYY", Some("%G")),
    ("SSSS", None),
    ("IDDD", None),
    ("DDD", Some("%j")),
    ("DAY", None),
    ("MON", None),
    ("HH", Some("%I")),
    ("MI", Some("%M")),
    ("SS", Some("%S")),
    ("MS", Some("%3f")),
    ("US", Some("%6f")),
    ("YY", Some("%y")),
    ("MM", Some("%m")),
    ("DD", Some("%d")),
    ("ID", Some("%u")),
    ("IW", Some("%V")),
    ("DY", None),
    ("Q", Some("%q")),
];
/// Patterns whose case says how the name is written.
const CASED: &[(&str, &str)] = &[
    ("Month", "%B"),
    ("Mon", "%b"),
    ("Day", "%A"),
    ("Dy", "%a"),
    ("AM", "%p"),
    ("PM", "%p"),
    ("am", "%P"),
    ("pm", "%P"),
];

/// Templates of a duration, which are the planner's own.
const DURATIONS: &[&str] = &["ISO8601", "pretty"];

/// Puts a statement into the planner's words.
pub(crate) fn translate(statement: &mut Statement) -> Result<(), QueryError> {
    let ended = visit_expressions_mut(statement, |expression| match translate_one(expression) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    });
    match ended {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn translate_one(expression: &mut Expr) -> Result<(), QueryError> {
    match expression {
        Expr::BinaryOp {
            left,
            op: BinaryOperator::LongArrow,
            right,
        } => {
            if matches!(right.as_ref(), Expr::Value(value) if matches!(value.value, Value::Number(..))) {
                return Err(QueryError::Syntax {
                    problem: format!("{expression}: ->> takes a key in quotes"),
                });
            }
            let arguments = [left.as_ref().clone(), right.as_ref().clone()];
            *expression = call("json_get_str", arguments);
        }
        Expr::Function(function) => {
            let name = function.name.0.last().and_then(|part| part.as_ident());
            let name = name.map_or_else(String::new, |name| name.value.to_ascii_lowercase());
            let FunctionArguments::List(FunctionArgumentList { args, .. }) = &mut function.args else {
                return Ok(());
            };
            match (name.as_str(), args.as_mut_slice()) {
                ("to_char" | "to_date" | "to_timestamp", [_, templates @ ..]) => {
                    for template in templates {
                        let text = literal(template).ok_or_else(|| QueryError::Syntax {
                            problem: format!("{name} takes its template as a text in single quotes"),
                        })?;
                        *text = template_of(&name, text)?;
                    }
                }
                (
                    "mod",
                    [
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(left)),
                        FunctionArg::Unnamed(FunctionArgExpr::Expr(right)),
                    ],
                ) => {
                    let nested = |side: &Expr| Box::new(Expr::Nested(Box::new(side.clone())));
                    *expression = Expr::Nested(Box::new(Expr::BinaryOp {
                        left: nested(left),
                        op: BinaryOperator::Modulo,
                        right: nested(right),
                    }));
                }
                _ => {}
            }
        }
        _ => {}
    }
    Ok(())
}

fn call(name: &str, arguments: [Expr; 2]) -> Expr {
    let arguments = arguments.map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)));
    Expr::Function(Function {
        name: ObjectName::from(Ident::new(name)),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

fn literal(argument: &mut FunctionArg) -> Option<&mut String> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => text_of(expression),
        _ => None,
    }
}

fn text_of(expression: &mut Expr) -> Option<&mut String> {
    match expression {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => text_of(inner),
        Expr::Value(value) => match &mut value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// A template of PostgreSQL in `chrono`'s words.
fn template_of(function: &str, template: &str) -> Result<String, QueryError> {
    if template.contains('%') || DURATIONS.contains(&template) {
        return Ok(template.to_owned());
    }
    let mut translated = String::with_capacity(template.len() + 8);
    let mut rest = template;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (text, behind) = quoted.split_once('"').unwrap_or((quoted, ""));
            translated.push_str(text);
            rest = behind;
        } else if first.is_ascii_alphabetic() {
            let (pattern, behind) = pattern_at(rest).ok_or_else(|| unknown(function, template, rest))?;
            translated.push_str(&pattern);
            rest = behind;
        } else {
            translated.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(translated)
}

/// The pattern a text begins with, translated, and what stands behind it.
fn pattern_at(text: &str) -> Option<(String, &str)> {
    let starts_with = |head: &str, text: &str| text.get(..head.len()).is_some_and(|own| own.eq_ignore_ascii_case(head));
    let (bare, unpadded) = if starts_with("FM", text) {
        (&text[2..], true)
    } else {
        (text, false)
    };
    if let Some((pattern, name)) = CASED.iter().find(|(pattern, _)| bare.starts_with(pattern)) {
        return Some(((*name).to_owned(), &bare[pattern.len()..]));
    }
    let (pattern, field) = PATTERNS.iter().find(|(pattern, _)| starts_with(pattern, bare))?;
    let behind = &bare[pattern.len()..];
    // An ordinal: 1st, 2nd.
    let field = (*field).filter(|_| !starts_with("TH", behind))?;
    match field {
        _ if !unpadded => Some((field.to_owned(), behind)),
        // Parts of a second have no shorter form.
        "%3f" | "%6f" => None,
        _ => Some((field.replacen('%', "%-", 1), behind)),
    }
}

fn unknown(function: &str, template: &str, rest: &str) -> QueryError {
    QueryError::Syntax {
        problem: format!(
            "{function} knows no \"{rest}\" in the template '{template}'; put plain text in double quotes, or write a template with % (%Y-%m-%d)"
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn translated(sql: &str) -> Result<String, QueryError> {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
        let mut statement = statements.remove(0);
        translate(&mut statement)?;
        Ok(statement.to_string())
    }

    #[test]
    fn templates_mean_what_they_mean_in_postgresql() {
        for (template, expected) in [
            ("YYYY-MM-DD HH24:MI:SS.US", "%Y-%m-%d %H:%M:%S.%6f"),
            ("yyyy年mm月dd日", "%Y年%m月%d日"),
            ("FMMM/FMDD/YY FMHH12:MI am", "%-m/%-d/%y %-I:%M %P"),
            ("YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"", "%Y-%m-%dT%H:%M:%SZ"),
            ("Dy, DD Mon YYYY", "%a, %d %b %Y"),
            ("IYYY-\"W\"IW-ID, Q, DDD", "%G-W%V-%u, %q, %j"),
            ("%Y-%m", "%Y-%m"),
            ("", ""),
        ] {
            assert_eq!(
                translated(&format!("SELECT to_char(at, '{template}') FROM t")).unwrap(),
                format!("SELECT to_char(at, '{expected}') FROM t")
            );
        }
        assert_eq!(
            translated("SELECT TO_TIMESTAMP('2026', 'YYYY', ('MM'::text))").unwrap(),
            "SELECT TO_TIMESTAMP('2026', '%Y', ('%m'::TEXT))"
        );
        assert_eq!(
            translated("SELECT \"to_char\"(at, E'YYYY'), to_char(a - b, 'ISO8601')").unwrap(),
            "SELECT \"to_char\"(at, E'%Y'), to_char(a - b, 'ISO8601')"
        );
        assert_eq!(translated("SELECT upper('YYYY')").unwrap(), "SELECT upper('YYYY')");
    }

    #[test]
    fn a_template_that_would_mean_something_else_is_refused() {
        for template in ["YYYY-MM-DDTHH24", "MONTH", "WW", "DDth", "J", "hour", "IDDD", "FMMS"] {
            let error = translated(&format!("SELECT to_char(at, '{template}')")).unwrap_err();
            assert!(error.to_string().contains("double quotes"), "{template}: {error}");
        }
    }

    #[test]
    fn a_template_that_is_not_known_yet_is_refused() {
        for argument in ["$1", "'YYYY' || '-MM'", "format"] {
            let error = translated(&format!("SELECT to_char(at, {argument})")).unwrap_err();
            assert!(error.to_string().contains("single quotes"), "{argument}: {error}");
        }
        assert!(translated("SELECT attributes ->> 0").is_err());
    }

    #[test]
    fn arrows_and_mod_are_put_into_the_planners_words() {
        assert_eq!(
            translated("SELECT count(*) FROM cases WHERE areas->>'district' = 'a' || 'b'").unwrap(),
            "SELECT count(*) FROM cases WHERE json_get_str(areas, 'district') = 'a' || 'b'"
        );
        assert_eq!(
            translated("SELECT mod(a + 1, 3) * 2").unwrap(),
            "SELECT ((a + 1) % (3)) * 2"
        );
    }
}
