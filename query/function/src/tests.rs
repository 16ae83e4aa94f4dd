#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use arrow::util::display::array_value_to_string;

use super::*;

async fn answer(sql: &str) -> Result<String, String> {
    let context = SessionContext::new();
    register_all(&context);
    let batches = context
        .sql(&format!("SELECT {sql}"))
        .await
        .map_err(|error| error.to_string())?
        .collect()
        .await
        .map_err(|error| error.to_string())?;
    Ok(array_value_to_string(batches[0].column(0), 0).unwrap())
}

#[tokio::test]
async fn every_example_runs_and_null_gives_null() {
    for function in manual() {
        let example = answer(function.example)
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", function.name));
        assert!(!example.is_empty(), "{} gives nothing", function.example);
        let nulls = vec!["NULL"; function.required].join(", ");
        assert_eq!(
            answer(&format!("{}({nulls})", function.name)).await.unwrap(),
            "",
            "{}",
            function.name
        );
        assert!(function.signature().starts_with(function.name) && !function.description.is_empty());
    }
}

#[test]
fn no_name_stands_twice() {
    let mut names: Vec<&str> = manual()
        .flat_map(|function| function.aliases.iter().chain([&function.name]))
        .copied()
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// Expected values: H3's own documentation and Python h3 4 (`h3.latlng_to_cell(37.7752702151959, -122.418307270836, 9)` and so on).
#[tokio::test]
async fn answers_are_those_of_the_reference_implementation() {
    let cases = [
        (
            "h3_latlng_to_cell_string(37.7752702151959, -122.418307270836, 9)",
            "8928308280fffff",
        ),
        (
            "h3_h3_to_string(h3_longlatash3(-122.418307270836, 37.7752702151959, 9))",
            "8928308280fffff",
        ),
        (
            "h3_h3_to_string(h3_cell_to_parent('8928308280fffff', 5))",
            "85283083fffffff",
        ),
        ("array_length(h3_cell_to_children('8928308280fffff', 11))", "49"),
        ("array_length(h3_grid_disk('8928308280fffff', 2))", "19"),
        ("array_length(h3_grid_ring('8928308280fffff', 2))", "12"),
        ("h3_get_resolution('8928308280fffff')", "9"),
        ("h3_is_valid_cell('ffff')", "false"),
        ("h3_get_base_cell_number('8928308280fffff')", "20"),
        ("h3_try_latlng_to_cell(100, 0, 9)", ""),
    ];
    for (sql, expected) in cases {
        assert_eq!(answer(sql).await.unwrap(), expected, "{sql}");
    }
}

#[tokio::test]
async fn bad_input_is_an_error_that_does_not_quote_it() {
    let error = answer("h3_latlng_to_cell(99.125, 0, 9)").await.unwrap_err();
    assert!(
        error.contains("latitude must be") && !error.contains("99.125: "),
        "{error}"
    );
    assert!(
        answer("h3_grid_disk('8928308280fffff', 100000)")
            .await
            .unwrap_err()
            .contains("0 to 200")
    );
    assert!(
        answer("h3_cell_to_children('8928308280fffff', 15, 3)")
            .await
            .unwrap_err()
            .contains("takes other arguments")
    );
}
