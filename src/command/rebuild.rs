//! `shiyu rebuild`.

use std::path::Path;

use shiyu_ingest::hub::Roles;
use shiyu_ingest::hub::rebuild::rebuild;

use super::load::hub_options;
use crate::cli::{LogArgs, OutputFormat, RebuildArgs};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::folder::{CityFolder, data_dir};
use crate::output;

/// Folds state and tables again from the log.
pub(crate) async fn run(given: Option<&Path>, format: OutputFormat, args: RebuildArgs) -> Result<(), Failure> {
    let folder = CityFolder::load(&args.city, &[])?;
    let data_dir = data_dir(given, &folder.city.config.city)?;
    let rebuilt = rebuild(hub_options(&folder, data_dir, LogArgs::default(), Roles::ALL))
        .await
        .map_err(super::hub_failure)?;
    output::print_rows(format, &["records folded"], &[vec![rebuilt.records.to_string()]]).or_exit(Exit::Io)
}
