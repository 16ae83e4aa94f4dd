//! How the SQL worker learns the rows that are not in the tables yet: once it has printed its addresses it asks through its standard output,
//! and the hub answers through its standard input, which also ends the worker when it closes. A message is its length (four bytes,
//! little-endian) and protobuf. An answer tells a part, and whether there is more to ask for.

use std::collections::BTreeMap;
use std::io::{self, Read, Write as _};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use prost::Message as _;
use shiyu_log::table::newest::{Answer, Question, ToldEpoch};
use shiyu_log::table::{EpochRows, NewestRows};
use shiyu_query::QueryError;
use shiyu_query::table::NewestSource;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Longest message taken: no worker of ours asks or is told more.
const MESSAGE_BYTES_MAX: usize = 1 << 30;
/// Bytes of rows in one answer, about.
const ANSWER_BYTES: usize = 16 << 20;
/// How long questions may delay a query. A hub that takes longer is overloaded.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Questions that may wait for their answers, each of which takes memory; with more of them the hub is not asked again.
const UNANSWERED_MAX: u64 = 2;

/// The hub's side: answers until the worker ends, or until `stop`; then the worker's standard input closes.
pub(crate) async fn answer(
    rows: NewestRows,
    mut questions: impl AsyncRead + Unpin,
    mut answers: impl AsyncWrite + Unpin,
    stop: CancellationToken,
) -> io::Result<()> {
    let answering = async {
        loop {
            let mut length = [0; 4];
            match questions.read_exact(&mut length).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                other => other?,
            };
            let mut bytes = vec![0; length_of(length)?];
            questions.read_exact(&mut bytes).await?;
            let Question { number, known } = Question::decode(bytes.as_slice())?;
            let rows = rows.clone();
            let answer = tokio::task::spawn_blocking(move || {
                let (epochs, is_all) = rows.since(&known, ANSWER_BYTES);
                framed(&answer_to(number, &epochs, !is_all))
            });
            let answer = answer.await.unwrap_or_else(|panic| {
                tracing::error!(%panic, "failed to tell the SQL worker the newest rows");
                framed(&Answer::empty(number))
            });
            answers.write_all(&answer).await?;
            answers.flush().await?;
        }
    };
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = answering => ended,
    }
}

/// An answer in any case: without rows the question is answered from the tables' files, which only are older.
fn answer_to(number: u64, epochs: &[EpochRows], has_more: bool) -> Answer {
    Answer::new(number, epochs, has_more).unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot tell the SQL worker the newest rows");
        Answer::empty(number)
    })
}

/// The worker's side.
#[derive(Debug)]
pub(crate) struct AskHub {
    talk: Mutex<Talk>,
}

#[derive(Debug)]
struct Talk {
    answers: mpsc::Receiver<Answer>,
    /// Before that the hub takes no questions.
    announced: bool,
    /// Number of the last question, and of the last answer.
    asked: u64,
    answered: u64,
}

impl AskHub {
    /// Reads answers from standard input, in a thread of its own. `stop` is cancelled once that is closed: the hub has ended.
    pub(crate) fn start(stop: CancellationToken) -> Self {
        let (sender, answers) = mpsc::channel(UNANSWERED_MAX as usize);
        std::thread::spawn(move || {
            let mut input = io::stdin().lock();
            while let Ok(answer) = read_answer(&mut input) {
                if sender.blocking_send(answer).is_err() {
                    break;
                }
            }
            stop.cancel();
        });
        Self {
            talk: Mutex::new(Talk {
                answers,
                announced: false,
                asked: 0,
                answered: 0,
            }),
        }
    }

    /// Prints the line the hub waits for; from now on the hub is asked.
    pub(crate) async fn announce(&self, line: &str) {
        let mut talk = self.talk.lock().await;
        crate::command::print_line(line);
        talk.announced = true;
    }
}

impl Talk {
    /// Asks. Nothing else is written to standard output.
    fn ask(&mut self, known: BTreeMap<String, u64>) -> io::Result<()> {
        while let Ok(late) = self.answers.try_recv() {
            self.answered = late.number;
        }
        if self.asked - self.answered >= UNANSWERED_MAX {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.asked += 1;
        let number = self.asked;
        let mut output = io::stdout().lock();
        output.write_all(&framed(&Question { number, known }))?;
        output.flush()
    }

    async fn answer(&mut self) -> io::Result<Answer> {
        loop {
            let answer = self.answers.recv().await.ok_or(io::ErrorKind::BrokenPipe)?;
            self.answered = answer.number;
            // One that was given up may have come since.
            if answer.number == self.asked {
                return Ok(answer);
            }
        }
    }
}

fn read_answer(input: &mut impl Read) -> io::Result<Answer> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let mut bytes = vec![0; length_of(length)?];
    input.read_exact(&mut bytes)?;
    // Shares the bytes.
    Ok(Answer::decode(Bytes::from(bytes))?)
}

#[async_trait]
impl NewestSource for AskHub {
    async fn since(&self, mut known: BTreeMap<String, u64>) -> Result<Vec<ToldEpoch>, QueryError> {
        let failed = |error: io::Error| QueryError::Storage(Box::new(error));
        let deadline = Instant::now() + ANSWER_WITHIN;
        let mut talk = self.talk.lock().await;
        if !talk.announced {
            return Ok(Vec::new());
        }
        let mut told = Vec::new();
        loop {
            talk.ask(known.clone()).map_err(failed)?;
            let answer = match tokio::time::timeout_at(deadline, talk.answer()).await {
                Ok(answer) => answer.map_err(failed)?,
                // What was told before is worth having: it is not asked for again.
                Err(_late) if !told.is_empty() => return Ok(told),
                Err(_late) => return Err(failed(io::ErrorKind::TimedOut.into())),
            };
            let has_more = answer.has_more;
            let epochs = answer.epochs().map_err(|error| QueryError::Storage(Box::new(error)))?;
            for epoch in &epochs {
                known.insert(epoch.partition.clone(), epoch.epoch);
            }
            told.extend(epochs);
            if !has_more {
                return Ok(told);
            }
        }
    }
}

fn framed(message: &impl prost::Message) -> Vec<u8> {
    let length = message.encoded_len();
    let mut bytes = Vec::with_capacity(length + 4);
    let length = u32::try_from(length).expect("messages are shorter than their limit");
    bytes.extend_from_slice(&length.to_le_bytes());
    message.encode(&mut bytes).expect("a Vec grows as needed");
    bytes
}

fn length_of(bytes: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_le_bytes(bytes) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other(format!("a message claims {length} bytes")));
    }
    Ok(length)
}
