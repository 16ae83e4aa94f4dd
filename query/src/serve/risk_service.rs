//! gRPC `RiskService`: scores asked for once, or subscribed to.
//!
//! A subscription is a snapshot, then deltas and removals; each message carries a token, and whoever comes back with it misses nothing
//! and is sent nothing from before it. A reader that is slow gets merged updates: the newest score of each cell, at most
//! [`MESSAGE_CELLS_MAX`] cells and about [`MESSAGE_BYTES_MAX`] bytes a message, one message in flight. One that falls behind everything the board keeps is ended with
//! `RESOURCE_EXHAUSTED` and its token in the metadata `resume-token`.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use prost::Message as _;
use shiyu_log::{EventLog, Topic};
use shiyu_schemas::city::City;
use shiyu_schemas::v1;
use shiyu_schemas::v1::risk_service_server::RiskService;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::place_filter::CellFilter;
use crate::risk::board::{Changes, ScoreBoard, ScoreChange};
use crate::risk::live::parent_of;

/// Cells of one message at most.
pub const MESSAGE_CELLS_MAX: usize = 4_000;
/// Bytes of the scores of one message, about; clients take 4 MiB unless they say otherwise.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
const HEARTBEAT: Duration = Duration::from_secs(15);
const HISTORY_READ_BYTES: usize = 8 << 20;

/// The service; cheap to clone.
#[derive(Debug, Clone)]
pub struct RiskServer {
    board: Arc<ScoreBoard>,
    city: Arc<City>,
    log: Arc<dyn EventLog>,
}

impl RiskServer {
    /// Serves the board's scores of the city's models.
    pub fn new(board: Arc<ScoreBoard>, city: Arc<City>, log: Arc<dyn EventLog>) -> Self {
        Self { board, city, log }
    }

    fn view(&self, model: &str, place: Option<&v1::PlaceFilter>, resolution: u32, level: i32) -> Result<View, Status> {
        let model = match model {
            "" => self.city.models.first(),
            name => self.city.models.iter().find(|model| model.model == name),
        };
        let Some(model) = model else {
            let known: Vec<&str> = self.city.models.iter().map(|model| model.model.as_str()).collect();
            return Err(Status::not_found(format!(
                "no such model; there are: {}",
                known.join(", ")
            )));
        };
        let resolution = match u8::try_from(resolution) {
            Ok(0) => model.resolution,
            Ok(resolution) if (5..=model.resolution).contains(&resolution) => resolution,
            _ => {
                return Err(Status::invalid_argument(format!(
                    "resolution must be 5 to {}",
                    model.resolution
                )));
            }
        };
        Ok(View {
            model: model.model.clone(),
            model_resolution: model.resolution,
            resolution,
            min_level: level.max(v1::Level::Green as i32),
            filter: CellFilter::of(place, &self.city, resolution)?,
        })
    }
}

/// What a request wants to see.
#[derive(Debug)]
struct View {
    model: String,
    model_resolution: u8,
    resolution: u8,
    min_level: i32,
    filter: CellFilter,
}

impl View {
    /// Whether a score at the view's resolution is shown.
    fn shows(&self, score: &v1::Score) -> bool {
        score.score > 0.0 && score.level >= self.min_level && self.filter.contains(score.cell)
    }

    fn is_coarser(&self) -> bool {
        self.resolution < self.model_resolution
    }

    /// The scores to show out of all of the model's: themselves, or per parent its highest child's.
    fn scores(&self, all: &[Arc<v1::Score>]) -> Vec<v1::Score> {
        if !self.is_coarser() {
            return all
                .iter()
                .filter(|score| self.shows(score))
                .map(|score| v1::Score::clone(score))
                .collect();
        }
        let mut parents: BTreeMap<i64, &Arc<v1::Score>> = BTreeMap::new();
        for score in all {
            let highest = parents.entry(parent_of(score.cell, self.resolution)).or_insert(score);
            if score.score > highest.score {
                *highest = score;
            }
        }
        parents
            .into_iter()
            .map(|(cell, highest)| v1::Score {
                cell,
                ..v1::Score::clone(highest)
            })
            .filter(|score| self.shows(score))
            .collect()
    }

    /// What changes mean for a subscriber that has everything before them.
    fn delta(&self, changes: &[ScoreChange], board: &ScoreBoard) -> v1::Delta {
        if self.is_coarser() {
            self.coarse_delta(changes, board)
        } else {
            self.fine_delta(changes)
        }
    }

    fn fine_delta(&self, changes: &[ScoreChange]) -> v1::Delta {
        let mut merged: BTreeMap<i64, (bool, &Arc<v1::Score>)> = BTreeMap::new();
        for change in changes.iter().filter(|change| change.score.model == self.model) {
            let was_shown = change.before.as_ref().is_some_and(|before| self.shows(before));
            merged.entry(change.score.cell).or_insert((was_shown, &change.score)).1 = &change.score;
        }
        let mut delta = v1::Delta::default();
        for (cell, (was_shown, newest)) in merged {
            if self.shows(newest) {
                delta.changed.push(v1::Score::clone(newest));
            } else if was_shown {
                delta.removed.push(cell);
            }
        }
        delta
    }

    /// The parent's score is its highest child's; a removal of what was not shown does no harm.
    fn coarse_delta(&self, changes: &[ScoreChange], board: &ScoreBoard) -> v1::Delta {
        let touched: std::collections::BTreeSet<i64> = changes
            .iter()
            .filter(|change| change.score.model == self.model)
            .map(|change| parent_of(change.score.cell, self.resolution))
            .filter(|&parent| self.filter.contains(parent))
            .collect();
        if touched.is_empty() {
            return v1::Delta::default();
        }
        let (all, _) = board.snapshot(&self.model);
        let children: Vec<_> = all
            .into_iter()
            .filter(|score| touched.contains(&parent_of(score.cell, self.resolution)))
            .collect();
        let changed = self.scores(&children);
        let shown: std::collections::BTreeSet<i64> = changed.iter().map(|score| score.cell).collect();
        v1::Delta {
            changed,
            removed: touched.into_iter().filter(|cell| !shown.contains(cell)).collect(),
        }
    }
}

/// `<incarnation>-<offset>-<hash of the request>`, hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token {
    incarnation: u64,
    offset: u64,
    request: u64,
}

impl Token {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-').map(|part| u64::from_str_radix(part, 16));
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(incarnation)), Some(Ok(offset)), Some(Ok(request)), None) => Some(Self {
                incarnation,
                offset,
                request,
            }),
            _ => None,
        }
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{:016x}-{:x}-{:016x}",
            self.incarnation, self.offset, self.request
        )
    }
}

fn request_hash(request: &v1::SubscribeRiskRequest) -> u64 {
    let bare = v1::SubscribeRiskRequest {
        resume_token: String::new(),
        ..request.clone()
    };
    xxhash_rust::xxh3::xxh3_64(&bare.encode_to_vec())
}

type SubscribeStream = Pin<Box<dyn Stream<Item = Result<v1::SubscribeRiskResponse, Status>> + Send>>;

#[tonic::async_trait]
impl RiskService for RiskServer {
    async fn get_risk(&self, request: Request<v1::GetRiskRequest>) -> Result<Response<v1::GetRiskResponse>, Status> {
        let request = request.into_inner();
        let view = self.view(
            &request.model,
            request.r#where.as_ref(),
            request.resolution,
            request.min_level,
        )?;
        let subscription = v1::SubscribeRiskRequest {
            model: request.model.clone(),
            r#where: request.r#where.clone(),
            resolution: request.resolution,
            min_level: request.min_level,
            resume_token: String::new(),
        };
        let (all, offset) = if request.at_us == 0 {
            self.board.snapshot(&view.model)
        } else {
            (self.scores_at(&view.model, request.at_us).await?, 0)
        };
        let token = Token {
            incarnation: self.board.incarnation(),
            offset,
            request: request_hash(&subscription),
        };
        let resume_token = if request.at_us == 0 {
            token.to_string()
        } else {
            String::new()
        };
        Ok(Response::new(v1::GetRiskResponse {
            scores: view.scores(&all),
            resume_token,
        }))
    }

    type SubscribeRiskStream = SubscribeStream;

    async fn subscribe_risk(
        &self,
        request: Request<v1::SubscribeRiskRequest>,
    ) -> Result<Response<SubscribeStream>, Status> {
        let request = request.into_inner();
        let view = self.view(
            &request.model,
            request.r#where.as_ref(),
            request.resolution,
            request.min_level,
        )?;
        let request_hash = request_hash(&request);
        let resume = match request.resume_token.as_str() {
            "" => None,
            text => {
                let token = Token::parse(text).ok_or_else(|| Status::invalid_argument("resume_token is damaged"))?;
                if token.request != request_hash {
                    return Err(Status::invalid_argument("resume_token belongs to another request"));
                }
                Some(token)
            }
        };
        // One message waits while one is being sent: behind that, updates are merged, not queued.
        let (sender, receiver) = mpsc::channel(1);
        let subscription = Subscription {
            board: self.board.clone(),
            view,
            request_hash,
            sender,
        };
        tokio::spawn(subscription.run(resume));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

impl RiskServer {
    /// Newest score per cell whose window ended at or before `at_us`, from the log.
    async fn scores_at(&self, model: &str, at_us: i64) -> Result<Vec<Arc<v1::Score>>, Status> {
        let failed = |error: shiyu_log::LogError| {
            tracing::error!(%error, "failed to read scores");
            Status::unavailable("failed to read the scores; try again")
        };
        let (mut offset, end) = self.log.ask_range(Topic::Scores, 0).await.map_err(failed)?;
        let mut newest: BTreeMap<i64, Arc<v1::Score>> = BTreeMap::new();
        while offset < end {
            for batch in self
                .log
                .read(Topic::Scores, 0, offset, HISTORY_READ_BYTES)
                .await
                .map_err(failed)?
            {
                for value in &batch.values {
                    let score = v1::Score::decode(value.as_ref())
                        .map_err(|error| Status::data_loss(format!("cannot decode a score: {error}")))?;
                    if score.model == model && score.window_end_us <= at_us {
                        newest.insert(score.cell, Arc::new(score));
                    }
                }
                offset = batch.next_offset();
            }
        }
        Ok(newest.into_values().collect())
    }
}

/// One open stream.
struct Subscription {
    board: Arc<ScoreBoard>,
    view: View,
    request_hash: u64,
    sender: mpsc::Sender<Result<v1::SubscribeRiskResponse, Status>>,
}

/// The client went away.
struct Gone;

impl Subscription {
    async fn run(self, resume: Option<Token>) {
        metrics::gauge!("shiyu_serve_subscribers").increment(1.0);
        let _ended: Result<(), Gone> = self.follow(resume).await;
        metrics::gauge!("shiyu_serve_subscribers").decrement(1.0);
    }

    async fn follow(&self, resume: Option<Token>) -> Result<(), Gone> {
        let mut watch = self.board.watch();
        let mut offset = match resume {
            Some(token) if self.can_resume(&token) => token.offset,
            other => self.send_snapshot(other.is_some()).await?,
        };
        loop {
            watch.mark_unchanged();
            match self.board.changes(offset, MESSAGE_CELLS_MAX, MESSAGE_BYTES_MAX) {
                Changes::TooOld => return self.end(offset).await,
                Changes::Found(changes, next) if next > offset => {
                    let delta = self.view.delta(&changes, &self.board);
                    offset = next;
                    if !delta.changed.is_empty() || !delta.removed.is_empty() {
                        self.send(offset, v1::subscribe_risk_response::Step::Delta(delta))
                            .await?;
                    }
                }
                Changes::Found(..) => {
                    tokio::select! {
                        () = self.sender.closed() => return Err(Gone),
                        changed = watch.changed() => changed.map_err(|_closed| Gone)?,
                        () = tokio::time::sleep(HEARTBEAT) => {
                            let heartbeat = v1::Heartbeat { watermark_us: self.board.watermark_us() };
                            self.send(offset, v1::subscribe_risk_response::Step::Heartbeat(heartbeat)).await?;
                        }
                    }
                }
            }
        }
    }

    fn can_resume(&self, token: &Token) -> bool {
        token.incarnation == self.board.incarnation()
            && matches!(self.board.changes(token.offset, 1, 0), Changes::Found(..))
    }

    /// Sends the whole state; a token of an unfinished snapshot starts it again.
    async fn send_snapshot(&self, reset: bool) -> Result<u64, Gone> {
        let (all, offset) = self.board.snapshot(&self.view.model);
        let scores = self.view.scores(&all);
        drop(all);
        let parts = parts_of(&scores);
        let last = parts.len() - 1;
        for (index, part) in parts.into_iter().enumerate() {
            let snapshot = v1::Snapshot {
                scores: part.to_vec(),
                first: index == 0,
                last: index == last,
                reset,
            };
            let token_offset = if index == last { offset } else { u64::MAX };
            self.send(token_offset, v1::subscribe_risk_response::Step::Snapshot(snapshot))
                .await?;
        }
        Ok(offset)
    }

    async fn send(&self, offset: u64, step: v1::subscribe_risk_response::Step) -> Result<(), Gone> {
        let message = v1::SubscribeRiskResponse {
            resume_token: self.token(offset),
            step: Some(step),
        };
        self.sender.send(Ok(message)).await.map_err(|_closed| Gone)
    }

    fn token(&self, offset: u64) -> String {
        Token {
            incarnation: self.board.incarnation(),
            offset,
            request: self.request_hash,
        }
        .to_string()
    }

    async fn end(&self, offset: u64) -> Result<(), Gone> {
        let mut status = Status::resource_exhausted("the reader is too slow; subscribe again with the resume token");
        if let Ok(token) = self.token(offset).parse() {
            status.metadata_mut().insert("resume-token", token);
        }
        self.sender.send(Err(status)).await.map_err(|_closed| Gone)
    }
}

/// Scores in messages, none too large; one message where there are none.
fn parts_of(scores: &[v1::Score]) -> Vec<&[v1::Score]> {
    let mut parts = Vec::new();
    let mut rest = scores;
    loop {
        let mut bytes = 0;
        let fitting = rest.iter().take(MESSAGE_CELLS_MAX).take_while(|score| {
            bytes += score.encoded_len();
            bytes <= MESSAGE_BYTES_MAX
        });
        let count = fitting.count().max(1).min(rest.len());
        let (part, behind) = rest.split_at(count);
        parts.push(part);
        if behind.is_empty() {
            return parts;
        }
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use tokio::task::JoinHandle;

    use super::*;

    #[test]
    fn a_token_survives_its_text() {
        let token = Token {
            incarnation: u64::MAX,
            offset: 12,
            request: 7,
        };
        assert_eq!(Token::parse(&token.to_string()), Some(token));
        assert_eq!(Token::parse("zz-1-2"), None);
        assert_eq!(Token::parse("1-2-3-4"), None);
    }

    #[test]
    fn a_cell_that_leaves_the_filter_is_removed_once() {
        let view = View {
            model: "m".to_owned(),
            model_resolution: 9,
            resolution: 9,
            min_level: v1::Level::Yellow as i32,
            filter: CellFilter::Everywhere,
        };
        let score = |value, level: v1::Level| {
            Arc::new(v1::Score {
                model: "m".to_owned(),
                cell: 5,
                score: value,
                level: level.into(),
                ..v1::Score::default()
            })
        };
        let high = score(70.0, v1::Level::Orange);
        let low = score(1.0, v1::Level::Green);
        let lower = score(0.5, v1::Level::Green);
        let change = |before: &Arc<v1::Score>, after: &Arc<v1::Score>| ScoreChange {
            offset: 0,
            score: after.clone(),
            before: Some(before.clone()),
        };
        assert_eq!(view.fine_delta(&[change(&high, &low)]).removed, [5]);
        assert_eq!(view.fine_delta(&[change(&low, &lower)]), v1::Delta::default());
        let back = view.fine_delta(&[change(&high, &low), change(&low, &high)]);
        assert_eq!(back.changed.len(), 1);
        assert!(back.removed.is_empty());
    }

    fn everywhere() -> View {
        View {
            model: "m".to_owned(),
            model_resolution: 9,
            resolution: 9,
            min_level: v1::Level::Green as i32,
            filter: CellFilter::Everywhere,
        }
    }

    /// A score with a factor whose name takes that many bytes.
    fn wide_score(cell: i64, value: f64, bytes: usize) -> v1::Score {
        v1::Score {
            model: "m".to_owned(),
            cell,
            score: value,
            level: v1::Level::Red.into(),
            contributions: vec![v1::Contribution {
                factor: "x".repeat(bytes),
                value,
                points: value,
            }],
            ..v1::Score::default()
        }
    }

    type Messages = mpsc::Receiver<Result<v1::SubscribeRiskResponse, Status>>;

    /// A subscription whose reader reads only when the test does.
    fn subscribe(board: &Arc<ScoreBoard>, resume: Option<Token>) -> (Messages, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(1);
        let subscription = Subscription {
            board: board.clone(),
            view: everywhere(),
            request_hash: 7,
            sender,
        };
        (receiver, tokio::spawn(subscription.run(resume)))
    }

    async fn step(messages: &mut Messages) -> (Token, v1::subscribe_risk_response::Step) {
        let message = messages.recv().await.unwrap().unwrap();
        // A little for the token and the lengths of the scores.
        assert!(message.encoded_len() <= MESSAGE_BYTES_MAX + 16_384);
        (Token::parse(&message.resume_token).unwrap(), message.step.unwrap())
    }

    fn delta_of(step: v1::subscribe_risk_response::Step) -> v1::Delta {
        match step {
            v1::subscribe_risk_response::Step::Delta(delta) => delta,
            other => panic!("no delta: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_reader_that_does_not_read_gets_the_newest_score_of_each_cell_and_no_queue() {
        let board = ScoreBoard::new(1);
        board.publish(0, vec![wide_score(1, 1.0, 1)]);
        let (mut messages, _running) = subscribe(&board, None);
        assert_eq!(step(&mut messages).await.0.offset, 1);
        let mut offset = 1;
        for round in 0..500_u32 {
            let scores = (1..=3).map(|cell| wide_score(cell, f64::from(round) + 2.0, 1));
            board.publish(offset, scores.collect());
            offset += 3;
            // The subscription may run: it fills the one place there is, then waits.
            tokio::task::yield_now().await;
        }
        let mut received: Vec<(Token, v1::Delta)> = Vec::new();
        while received.last().is_none_or(|(token, _)| token.offset < offset) {
            let (token, step) = step(&mut messages).await;
            received.push((token, delta_of(step)));
        }
        assert!(received.len() <= 3, "{} messages for 500 rounds", received.len());
        let newest: BTreeMap<i64, f64> = received
            .iter()
            .flat_map(|(_, delta)| delta.changed.iter().map(|score| (score.cell, score.score)))
            .collect();
        assert_eq!(newest.len(), 3);
        assert!(
            newest.values().all(|value| value.to_bits() == 501.0_f64.to_bits()),
            "{newest:?}"
        );
    }

    #[tokio::test]
    async fn no_message_is_larger_than_clients_take() {
        let wide = |cell| wide_score(cell, 1.0, 2_000);
        let board = ScoreBoard::new(1);
        board.publish(0, (0..2_000).map(wide).collect());
        let (mut messages, _running) = subscribe(&board, None);
        let (mut scores, mut parts) = (0, 0);
        loop {
            let v1::subscribe_risk_response::Step::Snapshot(part) = step(&mut messages).await.1 else {
                panic!("no snapshot");
            };
            assert_eq!(part.first, parts == 0);
            (scores, parts) = (scores + part.scores.len(), parts + 1);
            if part.last {
                break;
            }
        }
        assert_eq!((scores, parts), (2_000, 4));
        board.publish(2_000, (2_000..4_000).map(wide).collect());
        let mut changed = 0;
        while changed < 2_000 {
            changed += delta_of(step(&mut messages).await.1).changed.len();
        }
        assert_eq!(changed, 2_000);
    }

    #[tokio::test]
    async fn a_reader_behind_all_that_is_kept_is_ended_with_its_token_and_starts_again_from_a_snapshot() {
        let board = ScoreBoard::with_room(1, 10);
        board.publish(0, vec![wide_score(1, 1.0, 1)]);
        let (mut messages, running) = subscribe(&board, None);
        let (token, _) = step(&mut messages).await;
        let scores = (0..100).map(|round: i32| wide_score(i64::from(round % 5), f64::from(round) + 1.0, 1));
        board.publish(1, scores.collect());
        let status = messages.recv().await.unwrap().unwrap_err();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        let given = status.metadata().get("resume-token").unwrap().to_str().unwrap();
        assert_eq!(
            Token::parse(given),
            Some(token),
            "the token of the last message that was sent"
        );
        running.await.unwrap();
        assert!(messages.recv().await.is_none());
        let (mut messages, _running) = subscribe(&board, Some(token));
        match step(&mut messages).await {
            (token, v1::subscribe_risk_response::Step::Snapshot(snapshot)) => {
                assert!(snapshot.reset && snapshot.first && snapshot.last);
                assert_eq!((snapshot.scores.len(), token.offset), (5, 101));
            }
            (_, other) => panic!("no snapshot: {other:?}"),
        }
    }
}
