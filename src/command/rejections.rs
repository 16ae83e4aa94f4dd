//! `shiyu rejections`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use shiyu_ingest::door::Sealer;
use shiyu_ingest::hub::{Hub, HubError, Roles, key};
use shiyu_log::LogError;
use shiyu_schemas::code::Code as _;
use shiyu_schemas::v1;
use shiyu_schemas::v1::intake_service_client::IntakeServiceClient;
use shiyu_schemas::v1::operations_service_client::OperationsServiceClient;
use tonic::transport::Channel;

use super::load::hub_options;
use crate::cli::{CityArgs, LogArgs, OutputFormat, RejectionsCommand};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::folder::{CityFolder, data_dir};
use crate::output;
use crate::serving::ServeAddresses;

/// Records of one push.
const PUSH_RECORDS: usize = 1000;

/// Runs one of the commands.
pub(crate) async fn run(given: Option<&Path>, format: OutputFormat, command: RejectionsCommand) -> Result<(), Failure> {
    match command {
        RejectionsCommand::List(args) => {
            let access = Access::open(given, &args.city).await?;
            let rejections = access.read(&args.feed, &args.reason, 0).await?;
            access.close().await?;
            print(format, &rejections)
        }
        RejectionsCommand::Show(args) => {
            let access = Access::open(given, &args.city).await?;
            let rejections = access.read("", "", args.number).await?;
            let key = key::opener(&access.data_dir).map_err(super::hub_failure)?;
            access.close().await?;
            let Some(rejection) = rejections.into_iter().find_map(|answer| answer.rejection) else {
                let error = anyhow!("there is no rejection {}", args.number);
                return Err(Failure::new(Exit::NoInput, error));
            };
            let original = original_of(key.as_ref(), &rejection)?;
            super::print_line(&String::from_utf8_lossy(&original));
            Ok(())
        }
        RejectionsCommand::Replay(args) => {
            let access = Access::open(given, &args.which.city).await?;
            let rejections = access.read(&args.which.feed, &args.which.reason, 0).await?;
            let outcomes = access.replay(rejections, args.dry_run).await?;
            access.close().await?;
            let rows: Vec<Vec<String>> = outcomes
                .into_iter()
                .map(|((feed, outcome), count)| vec![feed, outcome, count.to_string()])
                .collect();
            output::print_rows(format, &["feed", "outcome", "records"], &rows).or_exit(Exit::Io)
        }
    }
}

fn print(format: OutputFormat, rejections: &[v1::ListRejectionsResponse]) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = rejections
        .iter()
        .filter_map(|answer| {
            let rejection = answer.rejection.as_ref()?;
            Some(vec![
                answer.number.to_string(),
                rejection.feed.clone(),
                rejection.source.clone(),
                rejection.source_row.to_string(),
                rejection.code.clone(),
                rejection.column.clone(),
                rejection.message.clone(),
            ])
        })
        .collect();
    let columns = ["number", "feed", "source", "row", "code", "column", "message"];
    output::print_rows(format, &columns, &rows).or_exit(Exit::Io)
}

fn original_of(key: &dyn Sealer, rejection: &v1::Rejection) -> Result<Vec<u8>, Failure> {
    key.open(&rejection.sealed).ok_or_else(|| {
        let error = anyhow!(
            "the original is sealed with key {}, the data folder has {}",
            rejection.key_id,
            key.key_id()
        );
        Failure::new(Exit::NotPermitted, error)
    })
}

/// The hub: here, or the running one that owns the data folder.
struct Access {
    data_dir: PathBuf,
    hub: Way,
}

enum Way {
    Here(Box<Hub>),
    Asked(Channel),
}

impl Access {
    async fn open(given: Option<&Path>, city: &CityArgs) -> Result<Self, Failure> {
        let folder = CityFolder::load(city, &[])?;
        let data_dir = data_dir(given, &folder.city.config.city)?;
        let hub = match Hub::open(hub_options(&folder, data_dir.clone(), LogArgs::default(), Roles::ALL)).await {
            Ok(hub) => Way::Here(Box::new(hub)),
            Err(HubError::Log(LogError::Locked { .. })) => {
                let addresses = ServeAddresses::read(&data_dir)
                    .context("another process owns the data folder, and it is not a running `shiyu serve`")
                    .or_exit(Exit::NotPermitted)?;
                let channel = Channel::from_shared(format!("http://{}", addresses.grpc)).or_exit(Exit::Software)?;
                Way::Asked(channel.connect().await.or_exit(Exit::Unavailable)?)
            }
            Err(error) => return Err(super::hub_failure(error)),
        };
        Ok(Self { data_dir, hub })
    }

    async fn read(&self, feed: &str, code: &str, number: u64) -> Result<Vec<v1::ListRejectionsResponse>, Failure> {
        let wanted = v1::ListRejectionsRequest {
            feed: feed.to_owned(),
            code: code.to_owned(),
            number,
        };
        let mut rejections = Vec::new();
        match &self.hub {
            Way::Here(hub) => {
                let mut offset = 0;
                while let Some((more, next)) = hub.rejections(&wanted, offset).await.map_err(super::hub_failure)? {
                    rejections.extend(more);
                    offset = next;
                }
            }
            Way::Asked(channel) => {
                let mut client = OperationsServiceClient::new(channel.clone());
                let mut answers = client
                    .list_rejections(wanted)
                    .await
                    .or_exit(Exit::Unavailable)?
                    .into_inner();
                while let Some(answer) = answers.message().await.or_exit(Exit::Unavailable)? {
                    rejections.push(answer);
                }
            }
        }
        Ok(rejections)
    }

    /// Pushes originals again; counts by feed and outcome.
    async fn replay(
        &self,
        rejections: Vec<v1::ListRejectionsResponse>,
        dry_run: bool,
    ) -> Result<BTreeMap<(String, String), u64>, Failure> {
        let key = key::opener(&self.data_dir).map_err(super::hub_failure)?;
        let mut outcomes = BTreeMap::new();
        let mut pushes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for rejection in rejections.into_iter().filter_map(|answer| answer.rejection) {
            let original = String::from_utf8(original_of(key.as_ref(), &rejection)?).unwrap_or_default();
            let is_record = original.starts_with('{');
            let outcome = match (is_record, dry_run) {
                // A row that could not be split into columns has none to push.
                (false, _) => Some("not a record"),
                (true, true) => Some("to be pushed"),
                (true, false) => None,
            };
            match outcome {
                Some(outcome) => *outcomes.entry((rejection.feed, outcome.to_owned())).or_default() += 1,
                None => pushes.entry(rejection.feed).or_default().push(original),
            }
        }
        for (feed, records) in pushes {
            for part in records.chunks(PUSH_RECORDS) {
                for receipt in self.push(&feed, part).await? {
                    let outcome = receipt.outcome().word().to_owned();
                    *outcomes.entry((feed.clone(), outcome)).or_default() += 1;
                }
            }
        }
        Ok(outcomes)
    }

    async fn push(&self, feed: &str, records: &[String]) -> Result<Vec<v1::Receipt>, Failure> {
        let request = v1::PushRequest {
            feed: feed.to_owned(),
            records: records.to_vec(),
            idempotency_key: String::new(),
            wait: v1::Wait::Settled.into(),
        };
        match &self.hub {
            Way::Here(hub) => hub.push(&request).await.map_err(super::hub_failure),
            Way::Asked(channel) => {
                let mut client = IntakeServiceClient::new(channel.clone());
                let answer = client.push(request).await.or_exit(Exit::Unavailable)?;
                Ok(answer.into_inner().receipts)
            }
        }
    }

    async fn close(self) -> Result<(), Failure> {
        match self.hub {
            Way::Here(hub) => hub.close().await.map_err(super::hub_failure),
            Way::Asked(_) => Ok(()),
        }
    }
}
