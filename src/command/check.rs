//! `shiyu check`: the whole city folder: files, mappings, models.

use std::sync::Arc;

use anyhow::anyhow;
use shiyu_ingest::door::{AesSealer, Door, Sealer};

use crate::cli::{CheckArgs, OutputFormat};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::folder::CityFolder;
use crate::{output, serving};

/// Checks and prints what stands in the folder.
pub(crate) fn run(format: OutputFormat, args: &CheckArgs) -> Result<(), Failure> {
    let folder = CityFolder::load(&args.city, &[])?;
    let sealer: Arc<dyn Sealer> = Arc::new(AesSealer::new(&[0; 32]));
    let mut problems = Vec::new();
    for feed in &folder.city.feeds {
        if let Err(errors) = Door::compile(feed, &folder.city, sealer.clone()) {
            problems.push(errors.to_string());
        }
        let checked = shiyu_connectors::find(&feed.manifest.connector.kind, &feed.manifest.feed)
            .and_then(|connector| connector.check(&feed.manifest));
        if let Err(error) = checked {
            problems.push(feed.error_at("connector", error.to_string()).to_string());
        }
    }
    if !problems.is_empty() {
        return Err(Failure::new(Exit::Config, anyhow!("{}", problems.join("\n"))));
    }
    serving::compile_models(&folder.city).or_exit(Exit::Config)?;
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |kind: &str, name: &str, about: String| rows.push(vec![kind.to_owned(), name.to_owned(), about]);
    for feed in &folder.city.feeds {
        row("feed", &feed.manifest.feed, feed.manifest.title.clone());
    }
    for layer in &folder.city.layers {
        row(
            "level",
            &layer.config.level,
            format!("{} areas", layer.index.areas().len()),
        );
    }
    for model in &folder.city.models {
        row("model", &model.model, model.title.clone());
    }
    for warning in &folder.city.warnings {
        row("warning", "", warning.clone());
    }
    output::print_rows(format, &["what", "name", "about"], &rows).or_exit(Exit::Io)
}
