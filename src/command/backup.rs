//! `shiyu backup`.

use std::path::Path;

use anyhow::Context as _;
use shiyu_ingest::hub::{Hub, HubError, Roles};
use shiyu_log::LogError;
use shiyu_schemas::v1;
use shiyu_schemas::v1::operations_service_client::OperationsServiceClient;
use tonic::Code;

use super::load::hub_options;
use crate::cli::{BackupArgs, LogArgs, OutputFormat};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::folder::{CityFolder, data_dir};
use crate::output;
use crate::serving::ServeAddresses;

/// Writes a backup, here or by the running hub that owns the data folder.
pub(crate) async fn run(given: Option<&Path>, format: OutputFormat, args: BackupArgs) -> Result<(), Failure> {
    let folder = CityFolder::load(&args.city, &[])?;
    let data_dir = data_dir(given, &folder.city.config.city)?;
    let to = std::path::absolute(&args.to).or_exit(Exit::Usage)?;
    let made = match Hub::open(hub_options(&folder, data_dir.clone(), LogArgs::default(), Roles::ALL)).await {
        Ok(hub) => {
            let manifest = hub.backup(&to).await.map_err(super::hub_failure)?;
            hub.close().await.map_err(super::hub_failure)?;
            manifest.to_message(&to)
        }
        Err(HubError::Log(LogError::Locked { .. })) => ask(&data_dir, &to).await?,
        Err(error) => return Err(super::hub_failure(error)),
    };
    let row = vec![
        made.to,
        made.files.to_string(),
        made.bytes.to_string(),
        made.events.to_string(),
        made.keys.join(" "),
    ];
    output::print_rows(
        format,
        &["backup", "files", "bytes", "events", "keys not in it"],
        &[row],
    )
    .or_exit(Exit::Io)
}

/// Asks the hub that owns the data folder.
async fn ask(data_dir: &Path, to: &Path) -> Result<v1::BackupResponse, Failure> {
    let addresses = ServeAddresses::read(data_dir)
        .context("another process owns the data folder, and it is not a running `shiyu serve`")
        .or_exit(Exit::NotPermitted)?;
    let mut client = OperationsServiceClient::connect(format!("http://{}", addresses.grpc))
        .await
        .or_exit(Exit::Unavailable)?;
    let request = v1::BackupRequest {
        to: to.to_string_lossy().into_owned(),
    };
    let answer = client.backup(request).await.map_err(|status| {
        let exit = match status.code() {
            Code::FailedPrecondition => Exit::Data,
            _ => Exit::Unavailable,
        };
        Failure::new(exit, status)
    })?;
    Ok(answer.into_inner())
}
