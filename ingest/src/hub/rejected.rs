//! Reads rejections back from the log.

use prost::Message as _;
use shiyu_log::Topic;
use shiyu_schemas::v1;

use super::{Hub, HubError};

const READ_BYTES: usize = 4 << 20;

impl Hub {
    /// Rejections asked for among the next ones from `offset` on (0 at first), oldest first, and the offset to go on from; `None` at the end.
    pub async fn rejections(
        &self,
        wanted: &v1::ListRejectionsRequest,
        offset: u64,
    ) -> Result<Option<(Vec<v1::ListRejectionsResponse>, u64)>, HubError> {
        let (start, end) = self.log.range(Topic::Rejections, 0);
        let mut next = offset.max(start);
        if next >= end {
            return Ok(None);
        }
        let mut found = Vec::new();
        for batch in self.log.read(Topic::Rejections, 0, next, READ_BYTES).await? {
            for value in batch.values {
                let rejection = v1::Rejection::decode(value).map_err(|source| HubError::Position {
                    topic: Topic::Rejections.name(),
                    offset: next,
                    source,
                })?;
                next += 1;
                let answer = v1::ListRejectionsResponse {
                    number: next,
                    rejection: Some(rejection),
                };
                if is_wanted(&answer, wanted) {
                    found.push(answer);
                }
            }
        }
        Ok(Some((found, next)))
    }
}

fn is_wanted(answer: &v1::ListRejectionsResponse, wanted: &v1::ListRejectionsRequest) -> bool {
    let rejection = answer.rejection.as_ref();
    let matches = |wanted: &str, given: Option<&str>| wanted.is_empty() || given == Some(wanted);
    matches(&wanted.feed, rejection.map(|rejection| rejection.feed.as_str()))
        && matches(&wanted.code, rejection.map(|rejection| rejection.code.as_str()))
        && (wanted.number == 0 || wanted.number == answer.number)
}
