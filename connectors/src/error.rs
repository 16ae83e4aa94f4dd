//! Errors of connectors.

use thiserror::Error;

/// What can go wrong while records get in. A bad row is not an error: it is delivered with its problem.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectorError {
    /// The manifest's `connector.with` does not fit the connector.
    #[error("cannot use connector \"{connector}\" for feed \"{feed}\": {problem}")]
    Config {
        /// The connector.
        connector: &'static str,
        /// The feed.
        feed: String,
        /// What does not fit, and what would.
        problem: String,
    },
    /// No connector of that name is registered.
    #[error("cannot find connector \"{kind}\" of feed \"{feed}\"; there are: {known}")]
    Unknown {
        /// The name asked for.
        kind: String,
        /// The feed.
        feed: String,
        /// The names there are.
        known: String,
    },
    /// The source cannot be read as declared (no such column, not that format).
    #[error("cannot read \"{origin}\" of feed \"{feed}\": {problem}")]
    Source {
        /// The feed.
        feed: String,
        /// The file, table or endpoint.
        origin: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Reading failed; it may work next time.
    #[error("failed to read \"{origin}\" of feed \"{feed}\"")]
    Io {
        /// The feed.
        feed: String,
        /// The file, table or endpoint.
        origin: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
