//! `shiyu restore`.

use std::path::Path;

use anyhow::anyhow;
use shiyu_ingest::hub::backup;

use crate::cli::{OutputFormat, RestoreArgs};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::folder::data_dir;
use crate::output;

/// Makes a data folder of a backup.
pub(crate) async fn run(given: Option<&Path>, format: OutputFormat, args: RestoreArgs) -> Result<(), Failure> {
    if !args.from.join(backup::MANIFEST).is_file() {
        let error = anyhow!(
            "\"{}\" is no backup: it has no {}",
            args.from.display(),
            backup::MANIFEST
        );
        return Err(Failure::new(Exit::NoInput, error));
    }
    let city = backup::BackupManifest::read(&args.from)
        .map_err(super::hub_failure)?
        .city;
    let data_dir = data_dir(given, &city)?;
    let (from, to) = (args.from.clone(), data_dir.clone());
    let manifest = tokio::task::spawn_blocking(move || backup::restore(&from, &to))
        .await
        .or_exit(Exit::Software)?
        .map_err(super::hub_failure)?;
    if args.verify {
        backup::verify(&data_dir, &manifest).await.map_err(super::hub_failure)?;
    }
    let made = manifest.to_message(&data_dir);
    let row = vec![
        made.to,
        made.files.to_string(),
        made.bytes.to_string(),
        made.events.to_string(),
        made.keys.join(" "),
        (if args.verify { "verified" } else { "restored" }).to_owned(),
    ];
    output::print_rows(
        format,
        &["data folder", "files", "bytes", "events", "keys to put back", "state"],
        &[row],
    )
    .or_exit(Exit::Io)
}
