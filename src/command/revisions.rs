//! `shiyu revisions`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use shiyu_ingest::hub::HubError;
use shiyu_ingest::hub::revisions::{Revisions, hash_text, write_files};
use shiyu_log::LogError;
use shiyu_log::lock::DataFolder;
use shiyu_schemas::city::revision::VARIABLES;
use shiyu_schemas::v1;
use shiyu_schemas::v1::operations_service_client::OperationsServiceClient;

use crate::cli::{OutputFormat, RevisionsArgs, RevisionsCommand};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::folder::{city_name, data_dir};
use crate::output;
use crate::serving::ServeAddresses;

/// Runs one of the commands.
pub(crate) async fn run(given: Option<&Path>, format: OutputFormat, command: RevisionsCommand) -> Result<(), Failure> {
    match command {
        RevisionsCommand::List(args) => {
            let revisions = Source::of(given, &args)?.read(None).await?;
            print(format, &revisions)
        }
        RevisionsCommand::Show(args) => {
            let source = Source::of(given, &args.which)?;
            let known = source.read(None).await?;
            let hash = known.find(&args.hash).map_err(super::hub_failure)?;
            let files = source
                .read(Some(hash))
                .await?
                .into_files()
                .map_err(super::hub_failure)?;
            write_files(&files, &args.out).map_err(super::hub_failure)?;
            print_files(format, &files)?;
            tell_variables(&files, &args.out);
            Ok(())
        }
    }
}

fn print(format: OutputFormat, revisions: &Revisions) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = revisions
        .listed
        .iter()
        .map(|revision| {
            let at = jiff::Timestamp::from_microsecond(revision.recorded_at_us);
            vec![
                hash_text(revision.hash),
                at.map_or_else(|_far| String::new(), |at| format!("{at:.0}")),
                revision.files.to_string(),
                revision.bytes.to_string(),
            ]
        })
        .collect();
    output::print_rows(format, &["revision", "since", "files", "bytes"], &rows).or_exit(Exit::Io)
}

fn print_files(format: OutputFormat, files: &[v1::RevisionFile]) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = files
        .iter()
        .map(|file| vec![file.name.clone(), file.content.len().to_string()])
        .collect();
    output::print_rows(format, &["file", "bytes"], &rows).or_exit(Exit::Io)
}

/// Says how the folder is loaded, where parts of it came from outside.
fn tell_variables(files: &[v1::RevisionFile], out: &Path) {
    let variables: BTreeSet<&str> = files
        .iter()
        .filter_map(|file| file.name.strip_prefix(VARIABLES)?.strip_prefix('/')?.split('/').next())
        .collect();
    if variables.is_empty() {
        return;
    }
    let given: Vec<String> = variables
        .into_iter()
        .map(|name| format!(" --var {name}={}", out.join(VARIABLES).join(name).display()))
        .collect();
    super::print_error(&format!(
        "shiyu: it is loaded with --city {}{}",
        out.display(),
        given.concat()
    ));
}

/// Where revisions are read: a log, or the running hub that owns the data folder.
struct Source<'a> {
    data_dir: PathBuf,
    city: String,
    args: &'a RevisionsArgs,
}

impl<'a> Source<'a> {
    fn of(given: Option<&Path>, args: &'a RevisionsArgs) -> Result<Self, Failure> {
        let named = args.city.as_deref().map(city_name).transpose()?;
        let data_dir = match (given, &named) {
            (None, None) => return Err(Failure::new(Exit::Usage, anyhow!("give --city or --data-dir"))),
            (given, named) => data_dir(given, named.as_deref().unwrap_or_default())?,
        };
        let there = DataFolder::identity_of(&data_dir).map_err(|error| super::hub_failure(error.into()))?;
        let city = there.map(|identity| identity.city).ok_or_else(|| {
            let error = anyhow!("there is no data in \"{}\"; load some first", data_dir.display());
            Failure::new(Exit::NoInput, error)
        })?;
        // Another city's folder is told as such when the data folder is opened.
        let city = named.unwrap_or(city);
        Ok(Self { data_dir, city, args })
    }

    /// All revisions; of the wanted one the files, too.
    async fn read(&self, wanted: Option<u64>) -> Result<Revisions, Failure> {
        match Revisions::read_folder(&self.data_dir, &self.city, &self.args.log, wanted).await {
            Ok(revisions) => Ok(revisions),
            Err(HubError::Log(LogError::Locked { .. })) => self.ask(wanted).await,
            Err(error) => Err(super::hub_failure(error)),
        }
    }

    async fn ask(&self, wanted: Option<u64>) -> Result<Revisions, Failure> {
        let addresses = ServeAddresses::read(&self.data_dir)
            .context("another process owns the data folder, and it is not a running `shiyu serve`")
            .or_exit(Exit::NotPermitted)?;
        let mut client = OperationsServiceClient::connect(format!("http://{}", addresses.grpc))
            .await
            .or_exit(Exit::Unavailable)?;
        let request = v1::ReadRevisionsRequest {
            hash: wanted.unwrap_or_default(),
        };
        let mut records = client
            .read_revisions(request)
            .await
            .or_exit(Exit::Unavailable)?
            .into_inner();
        let mut revisions = Revisions::wanting(wanted);
        while let Some(record) = records.message().await.or_exit(Exit::Unavailable)? {
            revisions.take(record);
        }
        Ok(revisions)
    }
}
