//! The connectors there are.

use crate::file::FileConnector;
use crate::{Connector, ConnectorError};

/// Every connector; a new one is a file and a line here.
pub static CONNECTORS: &[&dyn Connector] = &[&FileConnector];

/// The connector of a name, for a feed.
pub fn find(kind: &str, feed: &str) -> Result<&'static dyn Connector, ConnectorError> {
    CONNECTORS
        .iter()
        .copied()
        .find(|connector| connector.kind() == kind)
        .ok_or_else(|| ConnectorError::Unknown {
            kind: kind.to_owned(),
            feed: feed.to_owned(),
            known: CONNECTORS
                .iter()
                .map(|connector| connector.kind())
                .collect::<Vec<_>>()
                .join(", "),
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_connector_accepts_its_own_sample() {
        for connector in CONNECTORS {
            let sample: serde_json::Value = serde_saphyr::from_str(connector.sample()).unwrap();
            let manifest = serde_json::json!({
                "feed": "f", "title": "F", "department": "D", "channel": "other", "origin": "citizen",
                "connector": { "kind": connector.kind(), "with": sample },
                "record": { "columns": [{ "name": "id" }] },
                "map": { "id": "id", "category": "id", "occurred_at": { "sql": "id", "formats": ["%Y"] } },
            });
            connector.check(&serde_json::from_value(manifest).unwrap()).unwrap();
            assert!(!connector.summary().is_empty());
        }
    }

    #[test]
    fn an_unknown_connector_is_told_what_there_is() {
        let error = find("fax", "calls").err().unwrap().to_string();
        assert!(error.contains("\"fax\"") && error.contains("file"), "{error}");
    }
}
