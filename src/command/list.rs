//! `shiyu list`.

use crate::cli::{ListCommand, OutputFormat};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::folder::CityFolder;
use crate::output::print_rows;

/// Prints what there is.
pub(crate) fn run(format: OutputFormat, what: ListCommand) -> Result<(), Failure> {
    match what {
        ListCommand::Connectors => {
            let rows: Vec<Vec<String>> = shiyu_connectors::CONNECTORS
                .iter()
                .map(|connector| vec![connector.kind().to_owned(), connector.summary().to_owned()])
                .collect();
            print_rows(format, &["connector", "reads"], &rows)
        }
        ListCommand::Functions => {
            let rows: Vec<Vec<String>> = shiyu_function::manual()
                .map(|function| {
                    let aliases = function.aliases.join(", ");
                    vec![
                        function.signature(),
                        function.description.to_owned(),
                        function.example.to_owned(),
                        aliases,
                    ]
                })
                .collect();
            print_rows(format, &["function", "gives", "example", "also"], &rows)
        }
        ListCommand::Models(args) => {
            let folder = CityFolder::load(&args, &[])?;
            let rows: Vec<Vec<String>> = folder
                .city
                .models
                .iter()
                .flat_map(|model| {
                    model.factors.iter().map(|factor| {
                        let weight = factor.weight.to_string();
                        vec![
                            model.model.clone(),
                            factor.factor.clone(),
                            factor.title.clone(),
                            weight,
                            factor.value.clone(),
                        ]
                    })
                })
                .collect();
            print_rows(format, &["model", "factor", "title", "weight", "value"], &rows)
        }
    }
    .or_exit(Exit::Io)
}
