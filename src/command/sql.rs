//! `shiyu sql`.

use std::path::Path;

use anyhow::anyhow;

use crate::cli::{CityArgs, OutputFormat, SqlArgs};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::folder::{CityFolder, data_dir};
use crate::output;

/// Answers one question over the newest snapshot of the tables; a running hub is not disturbed.
pub(crate) async fn run(given: Option<&Path>, format: OutputFormat, args: SqlArgs) -> Result<(), Failure> {
    let folder = match args.city {
        Some(city) => Some(CityFolder::load(
            &CityArgs {
                city,
                variables: args.variables,
            },
            &[],
        )?),
        None => None,
    };
    let folder_dir = match (given, &folder) {
        (None, None) => return Err(Failure::new(Exit::Usage, anyhow!("give --city or --data-dir"))),
        (given, folder) => data_dir(given, folder.as_ref().map_or("", |folder| &folder.city.config.city))?,
    };
    if !folder_dir.is_dir() {
        let error = anyhow!("there is no data in \"{}\"; load some first", folder_dir.display());
        return Err(Failure::new(Exit::NoInput, error));
    }
    let city = folder.map(|folder| folder.city);
    let (schema, batches) = shiyu_query::run_query(&folder_dir, city, &args.query)
        .await
        .or_exit(Exit::Data)?;
    output::print_batches(format, &schema, &batches).or_exit(Exit::Io)
}
