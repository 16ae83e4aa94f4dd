//! What a query may be, decided before anything is planned: short SQL can freeze or kill a planner.
//!
//! [`check_text`] counts tokens, so that text of any shape is refused before a parser or planner recurses into it. [`check_plan`] looks at
//! the planned query: nothing but reading, and no function that makes something huge from a small argument. These are limits, not a
//! sandbox: `serve` also runs queries in a process of its own.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::Expr;
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement, Visit, Visitor, visit_relations};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use crate::error::QueryError;

/// Bytes of a query.
pub const TEXT_BYTES_MAX: usize = 16 << 10;
/// Operators: arithmetic, comparisons, AND, OR, UNION and the like.
pub const OPERATORS_MAX: usize = 500;
/// Parentheses, brackets and CASE within each other.
pub const DEPTH_MAX: usize = 50;
/// Joins.
pub const JOINS_MAX: usize = 24;
/// SELECTs, once every WITH is put where it is used.
pub const SELECTS_MAX: usize = 64;
/// What `repeat`, `lpad`, `range` and the like may make, all of a query multiplied.
pub const MADE_MAX: i64 = 10_000;

const WORD_OPERATORS: &[&str] = &[
    "AND",
    "OR",
    "NOT",
    "IN",
    "IS",
    "LIKE",
    "ILIKE",
    "BETWEEN",
    "SIMILAR",
    "UNION",
    "INTERSECT",
    "EXCEPT",
];
const MAKERS: &[&str] = &[
    "repeat",
    "lpad",
    "rpad",
    "array_repeat",
    "array_resize",
    "range",
    "generate_series",
];

/// Refuses text that is too large, too deep or too wide for the planner.
pub fn check_text(sql: &str) -> Result<(), QueryError> {
    if sql.len() > TEXT_BYTES_MAX {
        return Err(QueryError::TooLarge {
            what: "bytes",
            limit: TEXT_BYTES_MAX,
        });
    }
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize()
        .map_err(|error| QueryError::Syntax {
            problem: error.to_string(),
        })?;
    let mut counts = Counts::default();
    for token in &tokens {
        counts.add(token)?;
    }
    let limits = [
        ("operators", counts.operators, OPERATORS_MAX),
        ("nesting", counts.depth_max, DEPTH_MAX),
        ("joins", counts.joins, JOINS_MAX),
        ("SELECTs", counts.selects, SELECTS_MAX),
    ];
    match limits.into_iter().find(|(_, count, limit)| count > limit) {
        Some((what, _, limit)) => Err(QueryError::TooLarge { what, limit }),
        None => Ok(()),
    }
}

/// Turns parameters written as `?` into `$1`, `$2` …
pub fn number_parameters(sql: &str) -> String {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .with_unescape(false)
        .tokenize()
        .unwrap_or_default();
    if !tokens.contains(&Token::Question) {
        return sql.to_owned();
    }
    let mut number = 0;
    let numbered = tokens.iter().map(|token| {
        if *token == Token::Question {
            number += 1;
            return format!("${number}");
        }
        token.to_string()
    });
    numbered.collect()
}

#[derive(Debug, Default)]
struct Counts {
    operators: usize,
    depth: usize,
    depth_max: usize,
    joins: usize,
    selects: usize,
}

impl Counts {
    fn add(&mut self, token: &Token) -> Result<(), QueryError> {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => self.deepen(),
            Token::RParen | Token::RBracket | Token::RBrace => self.depth = self.depth.saturating_sub(1),
            Token::Word(word) if word.quote_style.is_none() => {
                let word = word.value.to_ascii_uppercase();
                match word.as_str() {
                    "RECURSIVE" => {
                        return Err(QueryError::Denied {
                            what: "WITH RECURSIVE".to_owned(),
                        });
                    }
                    "CASE" => self.deepen(),
                    "END" => self.depth = self.depth.saturating_sub(1),
                    "JOIN" => self.joins += 1,
                    "SELECT" | "VALUES" => self.selects += 1,
                    word if WORD_OPERATORS.contains(&word) => self.operators += 1,
                    _ => {}
                }
            }
            Token::Word(_)
            | Token::Whitespace(_)
            | Token::Comma
            | Token::Period
            | Token::SemiColon
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Placeholder(_)
            | Token::EOF => {}
            // What is left are operators, and literals of rare kinds.
            _ => self.operators += 1,
        }
        Ok(())
    }

    fn deepen(&mut self) {
        self.depth += 1;
        self.depth_max = self.depth_max.max(self.depth);
    }
}

/// Refuses statements that are more than one query, or whose WITH parts grow when they are put where they are used.
pub fn check_statement(statement: &Statement) -> Result<(), QueryError> {
    match statement {
        Statement::Query(query) => {
            if writes(&query.body) {
                return Err(QueryError::Denied {
                    what: "a change within a query".to_owned(),
                });
            }
        }
        Statement::Explain { .. }
        | Statement::ExplainTable { .. }
        | Statement::ShowTables { .. }
        | Statement::ShowColumns { .. }
        | Statement::ShowVariable { .. }
        | Statement::ShowFunctions { .. } => {}
        other => {
            let what = other
                .to_string()
                .split_whitespace()
                .next()
                .unwrap_or("this statement")
                .to_ascii_uppercase();
            return Err(QueryError::Denied { what });
        }
    }
    let mut growth = Growth { product: 1 };
    match statement.visit(&mut growth) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

fn writes(body: &SetExpr) -> bool {
    match body {
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => true,
        SetExpr::SetOperation { left, right, .. } => writes(left) || writes(right),
        _ => false,
    }
}

/// How many times the parts of a query are planned once WITH is gone; the factors of nested queries multiply.
struct Growth {
    product: usize,
}

impl Visitor for Growth {
    type Break = QueryError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<QueryError> {
        let Some(with) = &query.with else {
            return ControlFlow::Continue(());
        };
        let mut weights: HashMap<String, usize> = HashMap::new();
        let weigh = |weights: &HashMap<String, usize>, part: &Query| {
            let mut weight = 0_usize;
            let _ended: ControlFlow<()> = visit_relations(part, |name| {
                weight = weight.saturating_add(weights.get(&name.to_string().to_lowercase()).copied().unwrap_or(0));
                ControlFlow::Continue(())
            });
            weight
        };
        for part in &with.cte_tables {
            let weight = weigh(&weights, &part.query).saturating_add(1);
            weights.insert(part.alias.name.to_string().to_lowercase(), weight);
        }
        // The parts themselves are relations of this query, too; what is left is what its body uses.
        let parts: usize = with.cte_tables.iter().map(|part| weigh(&weights, &part.query)).sum();
        let used = weigh(&weights, query).saturating_sub(parts);
        self.product = self.product.saturating_mul(used.max(1));
        if self.product > SELECTS_MAX {
            return ControlFlow::Break(QueryError::TooLarge {
                what: "uses of WITH parts",
                limit: SELECTS_MAX,
            });
        }
        ControlFlow::Continue(())
    }
}

/// Refuses plans that do more than read, and functions that could make something huge. Parameters must be bound.
pub fn check_plan(plan: &LogicalPlan) -> Result<(), QueryError> {
    let reading = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    reading.verify_plan(plan).map_err(|_refused| QueryError::Denied {
        what: "this statement".to_owned(),
    })?;
    let mut made = 1_i64;
    let mut refused = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|inner| {
                if let Err(error) = count_made(inner, &mut made) {
                    refused = Some(error);
                    return Ok(TreeNodeRecursion::Stop);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map_err(QueryError::of_planning)?;
    refused.map_or(Ok(()), Err)
}

fn count_made(expression: &Expr, made: &mut i64) -> Result<(), QueryError> {
    let Expr::ScalarFunction(call) = expression else {
        return Ok(());
    };
    if !MAKERS.contains(&call.name()) {
        return Ok(());
    }
    let sizes: Option<Vec<i64>> = match call.name() {
        "range" | "generate_series" => call.args.iter().map(literal).collect(),
        _ => call
            .args
            .get(1)
            .map(|size| literal(size).map(|size| vec![size]))
            .unwrap_or_default(),
    };
    let size = match sizes.as_deref() {
        Some([size]) => *size,
        Some([start, end, ..]) => end.saturating_sub(*start),
        _ => {
            return Err(QueryError::Denied {
                what: format!("{}() with a size that is not a plain number", call.name()),
            });
        }
    };
    *made = made.saturating_mul(size.saturating_abs().max(1));
    if *made > MADE_MAX {
        return Err(QueryError::TooLarge {
            what: "things made by repeat, lpad, range and the like",
            limit: MADE_MAX as usize,
        });
    }
    Ok(())
}

fn literal(expression: &Expr) -> Option<i64> {
    match expression {
        Expr::Literal(value, _) => match value.cast_to(&arrow::datatypes::DataType::Int64).ok()? {
            ScalarValue::Int64(value) => value,
            _ => None,
        },
        Expr::Cast(cast) => literal(&cast.expr),
        Expr::Negative(inner) => literal(inner).map(i64::saturating_neg),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;

    fn checked(sql: &str) -> Result<(), QueryError> {
        check_text(sql)?;
        check_statement(&Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap()[0])
    }

    #[test]
    fn ten_thousand_ors_are_refused_before_planning() {
        let sql = format!("select {} from t", vec!["v=0"; 3_000].join(" or "));
        assert!(matches!(check_text(&sql), Err(QueryError::TooLarge { .. })));
        let sql = format!("select {}", vec!["'a'"; 1_000].join("||"));
        assert!(matches!(
            check_text(&sql),
            Err(QueryError::TooLarge { what: "operators", .. })
        ));
        let sql = format!("select {}1{}", "(".repeat(60), ")".repeat(60));
        assert!(matches!(
            check_text(&sql),
            Err(QueryError::TooLarge { what: "nesting", .. })
        ));
    }

    #[test]
    fn parts_that_double_are_refused_and_plain_ones_are_not() {
        let mut parts = vec!["p0 as (select 1 as v)".to_owned()];
        for number in 1..18 {
            let before = number - 1;
            parts.push(format!(
                "p{number} as (select a.v from p{before} a join p{before} b on a.v = b.v)"
            ));
        }
        let sql = format!("with {} select * from p17", parts.join(", "));
        assert!(matches!(
            checked(&sql),
            Err(QueryError::TooLarge {
                what: "uses of WITH parts",
                ..
            })
        ));
        checked("with a as (select 1 as v), b as (select v from a) select * from a join b using (v)").unwrap();
    }

    #[test]
    fn question_marks_are_numbered_and_quoted_ones_are_not() {
        let sql = "select 'it''s?' from \"a?\" where b = ? and c in (?, ?) -- ?";
        let numbered = "select 'it''s?' from \"a?\" where b = $1 and c in ($2, $3) -- ?";
        assert_eq!(number_parameters(sql).trim_end(), numbered);
    }

    #[test]
    fn whatever_changes_something_is_refused() {
        for sql in [
            "create external table x stored as csv location '/etc/passwd'",
            "copy t to 'x'",
            "insert into t values (1)",
            "set x = 1",
            "with recursive r as (select 1) select * from r",
        ] {
            let refused = match Parser::parse_sql(&PostgreSqlDialect {}, sql) {
                Ok(_) => matches!(checked(sql), Err(QueryError::Denied { .. })),
                Err(_) => true,
            };
            assert!(refused, "{sql}");
        }
    }
}
