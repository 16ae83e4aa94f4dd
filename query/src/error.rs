//! What can go wrong with a query, and how each door says it: one closed enum, mapped once to gRPC status and SQLSTATE.
//!
//! What goes to a client holds its own words (names, literals of its query) but never a value of a row: messages of running queries,
//! which quote rows, stay in the source of the error.

use std::path::PathBuf;

use datafusion::common::DataFusionError;
use shiyu_log::LogError;

/// Why a query was not answered, or the doors were not opened.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The text is not SQL.
    #[error("cannot parse the query: {problem}")]
    Syntax {
        /// What the parser says.
        problem: String,
    },
    /// The query names something that is not there.
    #[error("{problem}")]
    Unknown {
        /// What the planner says.
        problem: String,
        /// SQLSTATE: undefined table, column or function.
        sqlstate: &'static str,
    },
    /// The query does not make sense to the planner.
    #[error("cannot plan the query: {problem}")]
    Plan {
        /// What the planner says.
        problem: String,
    },
    /// The query asks for something nobody may do here.
    #[error("{what} is not allowed here: tables can only be read")]
    Denied {
        /// What it asks for.
        what: String,
    },
    /// The query is larger than the limits.
    #[error("the query is too large: {what}, at most {limit}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: usize,
    },
    /// The result is larger than the limits.
    #[error("the result has more than {limit} rows; add a LIMIT or aggregate")]
    TooManyRows {
        /// How many there may be.
        limit: usize,
    },
    /// The query ran too long.
    #[error("the query took longer than {limit_seconds} s and was stopped")]
    Timeout {
        /// Seconds it may take.
        limit_seconds: u64,
    },
    /// The query needs more memory than there is.
    #[error("the query needs more memory than it may have; aggregate or filter more")]
    Memory(#[source] Box<DataFusionError>),
    /// A value does not fit what the query does with it: a cast, a division by zero, an overflow.
    #[error("a value does not fit what the query does with it: a cast, a division by zero or an overflow")]
    Value(#[source] Box<DataFusionError>),
    /// A function was called with arguments it cannot take.
    #[error("{0}")]
    Call(shiyu_function::CallError),
    /// The query uses something that is not built.
    #[error("not supported: {problem}")]
    Unsupported {
        /// What is not supported.
        problem: String,
    },
    /// The parameters do not fit the query.
    #[error("the parameters do not fit the query: {problem}")]
    Parameters {
        /// What does not fit.
        problem: String,
    },
    /// A prepared statement or ticket is not known.
    #[error("the prepared statement is not known; it may have expired, prepare it again")]
    UnknownStatement,
    /// Too many of something at a time.
    #[error("too many {what} at a time, at most {limit}; try again later")]
    Busy {
        /// What there is too much of.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The caller did not show a token that is known.
    #[error("a valid token is needed")]
    Unauthenticated,
    /// The tables cannot be read.
    #[error("failed to read the tables")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A fault of ours.
    #[error("the query failed inside the hub; see its log")]
    Internal(#[source] Box<DataFusionError>),
    /// An address others can reach needs TLS and tokens.
    #[error("cannot serve SQL at {address}: an address that is not loopback needs TLS and tokens")]
    Exposed {
        /// The address.
        address: std::net::SocketAddr,
    },
    /// An address cannot be taken.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificate or the key is not usable. Nothing is served in clear instead.
    #[error("cannot use the TLS certificate or key: {problem}")]
    Tls {
        /// What is wrong.
        problem: String,
    },
    /// A door closed by itself.
    #[error("the {door} door failed")]
    Door {
        /// Which.
        door: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A folder is not there.
    #[error("cannot open the data folder {path:?}", path = path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl From<LogError> for QueryError {
    fn from(error: LogError) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl From<deltalake::DeltaTableError> for QueryError {
    fn from(error: deltalake::DeltaTableError) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl QueryError {
    /// An error of planning: nothing has been read, so its message holds the query's words only.
    pub fn of_planning(error: DataFusionError) -> Self {
        if let Some(call) = call_error(&error) {
            return Self::Call(call);
        }
        let problem = first_line(&error.find_root().strip_backtrace());
        match error.find_root() {
            DataFusionError::SQL(..) => Self::Syntax { problem },
            DataFusionError::NotImplemented(_) => Self::Unsupported { problem },
            DataFusionError::SchemaError(..) => Self::Unknown {
                problem,
                sqlstate: "42703",
            },
            DataFusionError::ResourcesExhausted(_) => Self::Memory(Box::new(error)),
            DataFusionError::Plan(text) if text.contains("table '") => Self::Unknown {
                problem,
                sqlstate: "42P01",
            },
            DataFusionError::Plan(text) if text.contains("Invalid function") => Self::Unknown {
                problem,
                sqlstate: "42883",
            },
            DataFusionError::Plan(_) | DataFusionError::Configuration(_) | DataFusionError::Execution(_) => {
                Self::Plan { problem }
            }
            DataFusionError::ArrowError(..) => Self::Value(Box::new(error)),
            _ => Self::Internal(Box::new(error)),
        }
    }

    /// An error of a running query: its message may quote rows, and is kept from clients.
    pub fn of_running(error: DataFusionError) -> Self {
        if let Some(call) = call_error(&error) {
            return Self::Call(call);
        }
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => Self::Memory(Box::new(error)),
            DataFusionError::ArrowError(..) | DataFusionError::Execution(_) => Self::Value(Box::new(error)),
            DataFusionError::NotImplemented(_) => Self::Unsupported {
                problem: "an operation on these types".to_owned(),
            },
            DataFusionError::ObjectStore(_) | DataFusionError::ParquetError(_) | DataFusionError::IoError(_) => {
                Self::Storage(Box::new(error))
            }
            _ => Self::Internal(Box::new(error)),
        }
    }

    /// The five characters PostgreSQL clients know.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "42601",
            Self::Unknown { sqlstate, .. } => sqlstate,
            Self::Plan { .. } => "42000",
            Self::Denied { .. } => "42501",
            Self::TooLarge { .. } | Self::TooManyRows { .. } => "54000",
            Self::Timeout { .. } => "57014",
            Self::Memory(_) => "53200",
            Self::Value(_) => "22000",
            Self::Unsupported { .. } => "0A000",
            Self::Call(_) | Self::Parameters { .. } => "22023",
            Self::UnknownStatement => "26000",
            Self::Busy { .. } => "53300",
            Self::Unauthenticated => "28P01",
            Self::Storage(_) => "58030",
            Self::Internal(_)
            | Self::Exposed { .. }
            | Self::Listen { .. }
            | Self::Tls { .. }
            | Self::Door { .. }
            | Self::Folder { .. } => "XX000",
        }
    }

    /// The status gRPC clients know.
    pub fn grpc_code(&self) -> tonic::Code {
        use tonic::Code;
        match self {
            Self::Syntax { .. } | Self::Plan { .. } | Self::Value(_) | Self::Call(_) | Self::Parameters { .. } => {
                Code::InvalidArgument
            }
            Self::Unknown { .. } | Self::UnknownStatement => Code::NotFound,
            Self::Denied { .. } => Code::PermissionDenied,
            Self::TooLarge { .. } | Self::TooManyRows { .. } | Self::Memory(_) | Self::Busy { .. } => {
                Code::ResourceExhausted
            }
            Self::Timeout { .. } => Code::DeadlineExceeded,
            Self::Unsupported { .. } => Code::Unimplemented,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Storage(_) => Code::Unavailable,
            Self::Internal(_)
            | Self::Exposed { .. }
            | Self::Listen { .. }
            | Self::Tls { .. }
            | Self::Door { .. }
            | Self::Folder { .. } => Code::Internal,
        }
    }
}

impl From<QueryError> for tonic::Status {
    fn from(error: QueryError) -> Self {
        Self::new(error.grpc_code(), format!("{}: {error}", error.sqlstate()))
    }
}

impl From<QueryError> for pgwire::error::PgWireError {
    fn from(error: QueryError) -> Self {
        let info = pgwire::error::ErrorInfo::new("ERROR".to_owned(), error.sqlstate().to_owned(), error.to_string());
        Self::UserError(Box::new(info))
    }
}

/// What one of our functions says about its arguments, if that is what failed.
fn call_error(error: &DataFusionError) -> Option<shiyu_function::CallError> {
    match error.find_root() {
        DataFusionError::External(source) => source.downcast_ref().copied(),
        _ => None,
    }
}

/// Planner messages go on with suggestions over several lines; one line of bounded length is enough.
fn first_line(text: &str) -> String {
    const LENGTH_MAX: usize = 400;
    text.lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(LENGTH_MAX)
        .collect()
}
