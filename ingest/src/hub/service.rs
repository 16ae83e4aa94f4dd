//! gRPC `IntakeService`: push with receipts, and loads handed over by other processes; `OperationsService`: what operators ask for.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, TryStreamExt as _, stream};
use shiyu_schemas::v1;
use shiyu_schemas::v1::intake_service_server::IntakeService;
use shiyu_schemas::v1::operations_service_server::OperationsService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{Hub, HubError};

/// Records of one push at most.
const PUSH_MAX: usize = 10_000;

/// The service; cheap to clone.
#[derive(Debug, Clone)]
pub struct IntakeServer {
    hub: Arc<Hub>,
    stop: CancellationToken,
}

impl IntakeServer {
    /// Serves a hub until `stop`.
    pub fn new(hub: Arc<Hub>, stop: CancellationToken) -> Self {
        Self { hub, stop }
    }
}

/// Answers of a service, one after another.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl IntakeService for IntakeServer {
    async fn push(&self, request: Request<v1::PushRequest>) -> Result<Response<v1::PushResponse>, Status> {
        let request = request.into_inner();
        if request.records.len() > PUSH_MAX {
            return Err(Status::invalid_argument(format!(
                "push at most {PUSH_MAX} records at a time"
            )));
        }
        let receipts = self.hub.push(&request).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(v1::PushResponse { receipts }))
    }

    type LoadStream = Answers<v1::LoadResponse>;

    async fn load(&self, request: Request<v1::LoadRequest>) -> Result<Response<Self::LoadStream>, Status> {
        let request = request.into_inner();
        let (sender, receiver) = mpsc::channel(16);
        let (hub, stop) = (self.hub.clone(), self.stop.child_token());
        tokio::spawn(async move {
            let inputs: Vec<PathBuf> = request.inputs.iter().map(PathBuf::from).collect();
            let told = sender.clone();
            let progress = move |progress: &v1::LoadProgress| {
                let step = v1::load_response::Step::Progress(progress.clone());
                // Progress that a slow reader cannot take is of no use later.
                let _dropped = told.try_send(Ok(v1::LoadResponse { step: Some(step) }));
            };
            let answer = hub.load_and_flush(&request.feeds, &inputs, &stop, &progress).await;
            let answer = answer
                .map(|balances| v1::LoadResponse {
                    step: Some(v1::load_response::Step::Summary(v1::LoadSummary { balances })),
                })
                .map_err(|error| status_of(&error));
            if sender.send(answer).await.is_err() {
                tracing::info!("the load's caller went away; the records are loaded all the same");
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Answers that are read page by page: `read` is given where to go on, from 0, and gives a page and where the next begins, or none.
fn paged<T, Page>(mut read: impl FnMut(u64) -> Page + Send + 'static) -> Answers<T>
where
    T: Send + 'static,
    Page: Future<Output = Result<Option<(Vec<T>, u64)>, HubError>> + Send + 'static,
{
    let pages = stream::try_unfold(0, move |from| {
        let page = read(from);
        async move {
            let page = page.await?;
            Ok::<_, HubError>(page.map(|(answers, next)| (stream::iter(answers.into_iter().map(Ok)), next)))
        }
    });
    Box::pin(pages.try_flatten().map_err(|error| status_of(&error)))
}

#[tonic::async_trait]
impl OperationsService for IntakeServer {
    type ListRejectionsStream = Answers<v1::ListRejectionsResponse>;

    async fn list_rejections(
        &self,
        request: Request<v1::ListRejectionsRequest>,
    ) -> Result<Response<Self::ListRejectionsStream>, Status> {
        let (hub, request) = (self.hub.clone(), Arc::new(request.into_inner()));
        Ok(Response::new(paged(move |from| {
            let (hub, request) = (hub.clone(), request.clone());
            async move { hub.rejections(&request, from).await }
        })))
    }

    type ReadRevisionsStream = Answers<v1::Revision>;

    async fn read_revisions(
        &self,
        request: Request<v1::ReadRevisionsRequest>,
    ) -> Result<Response<Self::ReadRevisionsStream>, Status> {
        let (hub, wanted) = (self.hub.clone(), request.into_inner().hash);
        Ok(Response::new(paged(move |from| {
            let hub = hub.clone();
            async move { hub.revisions(from, wanted).await }
        })))
    }

    async fn backup(&self, request: Request<v1::BackupRequest>) -> Result<Response<v1::BackupResponse>, Status> {
        let to = PathBuf::from(request.into_inner().to);
        let manifest = self.hub.backup(&to).await.map_err(|error| status_of(&error))?;
        Ok(Response::new(manifest.to_message(&to)))
    }
}

impl Hub {
    /// One pass over the sources; the balances are final and everything is in the tables when this returns.
    pub async fn load_and_flush(
        &self,
        feeds: &[String],
        inputs: &[PathBuf],
        stop: &CancellationToken,
        progress: &super::pipeline::Progress,
    ) -> Result<Vec<v1::Balance>, HubError> {
        let balances = self.load(feeds, inputs, false, stop, progress).await?;
        self.settle().await?;
        self.flush().await?;
        let counters = self.fold.counters();
        Ok(balances
            .iter()
            .map(|(feed, balance)| {
                let counts = counters.get(feed).cloned().unwrap_or_default();
                balance.to_message(feed, counts.withdrawn, counts.waiting)
            })
            .collect())
    }
}

fn status_of(error: &HubError) -> Status {
    match error {
        HubError::UnknownFeed { .. } | HubError::Connector(_) | HubError::NothingToRead { .. } => {
            Status::invalid_argument(error.to_string())
        }
        HubError::Backup { .. } | HubError::City(_) | HubError::NotHere { .. } | HubError::EmbeddedOnly { .. } => {
            Status::failed_precondition(error.to_string())
        }
        HubError::Log(error) if error.is_full() => {
            Status::resource_exhausted("the hub's disk is full; push the same records again later")
        }
        other => {
            tracing::error!(error = %other, "failed to take records");
            Status::unavailable("failed to take the records; try again")
        }
    }
}
