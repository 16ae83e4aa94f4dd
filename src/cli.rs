//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use shiyu_ingest::hub::{LogChoice, Roles};

use crate::exit::Exit;

/// Shiyu (市域): a city's event hub. Records in, SQL and live risk per place out.
#[derive(Debug, Parser)]
#[command(name = "shiyu", version, propagate_version = true, after_help = Exit::TABLE)]
pub(crate) struct Cli {
    /// Folder that holds everything the hub keeps [default: $XDG_DATA_HOME/shiyu/<city>]
    #[arg(long, global = true, env = "SHIYU_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Table)]
    pub(crate) output: OutputFormat,

    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    Table,
    /// One JSON object a line
    Json,
    /// With a header line
    Csv,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Simulate the invented city Yunlan, load it, serve it, and let it live on
    #[command(
        after_help = "Examples:\n  shiyu demo\n  shiyu demo --days 7 --scale 0.5\n  shiyu demo --once        load, print the sample SQL and its answer, and end"
    )]
    Demo(DemoArgs),
    /// Serve a city: connectors that watch, SQL, gRPC, HTTP
    #[command(
        after_help = "Examples:\n  shiyu serve --city deploy/cities/yunlan\n  shiyu serve --city deploy/cities/chicago --var CITY_DATA=/srv/chicago --grpc 127.0.0.1:7110"
    )]
    Serve(ServeArgs),
    /// Read a city's files once and print the balance of every feed
    #[command(
        after_help = "Examples:\n  shiyu load --city deploy/cities/chicago --input /srv/chicago\n  shiyu load --city deploy/cities/stlouis --feed police --input /srv/stl --output json\n\nread = accepted + unchanged + duplicate + stale + excluded + rejected, for every feed.\nBeside a running `shiyu serve` on the same data folder the work is handed to it."
    )]
    Load(LoadArgs),
    /// Ask a question in SQL
    #[command(
        after_help = "Examples:\n  shiyu sql --city deploy/cities/chicago 'SELECT feed, count(*) FROM cases GROUP BY feed'\n  shiyu sql --city deploy/cities/yunlan --output csv \"SELECT h3_h3_to_string(cell) AS cell, sum(count) AS cases FROM cells GROUP BY 1 ORDER BY 2 DESC LIMIT 10\""
    )]
    Sql(SqlArgs),
    /// Follow what changes
    #[command(subcommand)]
    Watch(WatchCommand),
    /// Check a city folder: every manifest, mapping, boundary, crosswalk and model
    #[command(
        after_help = "Examples:\n  shiyu check --city deploy/cities/boston\n  shiyu check --city deploy/cities/boston --var CITY_DATA=/srv/boston"
    )]
    Check(CheckArgs),
    /// Write the invented city Yunlan's records, with known truth
    #[command(
        after_help = "Examples:\n  shiyu simulate --seed 7 --days 30 --out yunlan\n  shiyu simulate --seed 7 --days 365 --scale 2 --statistics --out yunlan\n  shiyu simulate --seed 7 --days 30 --live 60        go on live into the hub at --address"
    )]
    Simulate(SimulateArgs),
    /// Judge what a hub made of Yunlan's records by what truly happened
    #[command(
        after_help = "Examples:\n  shiyu simulate --seed 7 --days 90 --out yunlan\n  shiyu --data-dir hub load --city deploy/cities/yunlan --var CITY_DATA=yunlan\n  shiyu --data-dir hub score-truth --truth yunlan/truth"
    )]
    ScoreTruth(ScoreTruthArgs),
    /// Write all a hub needs to go on to a folder, while it runs or not
    #[command(
        after_help = "Examples:\n  shiyu backup --city deploy/cities/yunlan --to /backups/2026-11-28\n\nSealing keys are not in a backup: keep the folder keys/ elsewhere. The log is trimmed only behind backups\nthat still lie where they were written (see `shiyu serve --log-keep`)."
    )]
    Backup(BackupArgs),
    /// Make a data folder of a backup
    #[command(
        after_help = "Examples:\n  shiyu --data-dir /srv/shiyu restore --from /backups/2026-11-28 --verify\n\nThe data folder must be empty or missing. Put keys/ back into it before the\nhub starts: originals of rejections and pseudonyms of ids depend on the key."
    )]
    Restore(RestoreArgs),
    /// Throw state and tables away and fold them again from the log
    #[command(after_help = "Examples:\n  shiyu rebuild --city deploy/cities/yunlan\n\nStop the hub before.")]
    Rebuild(RebuildArgs),
    /// Records that were refused: list them, show their originals, push them again
    #[command(
        subcommand,
        after_help = "Examples:\n  shiyu rejections list --city deploy/cities/yunlan --reason bad_time\n  shiyu rejections show --city deploy/cities/yunlan 17\n  shiyu rejections replay --city deploy/cities/yunlan --reason unknown_status --dry-run"
    )]
    Rejections(RejectionsCommand),
    /// Revisions of the city folder that mapped records: list them, write one back
    #[command(
        subcommand,
        after_help = "Examples:\n  shiyu revisions list --city deploy/cities/yunlan\n  shiyu --data-dir hub revisions list --output json\n  shiyu revisions show --city deploy/cities/yunlan 5d3c09b12f6a7e84 --out yunlan-then\n\nThe column `revision` of `events` and `rejections` names the revision that mapped a record. A running hub is asked."
    )]
    Revisions(RevisionsCommand),
    /// List what there is
    #[command(
        subcommand,
        after_help = "Examples:\n  shiyu list connectors\n  shiyu list functions --output json\n  shiyu list models --city deploy/cities/yunlan"
    )]
    List(ListCommand),
    /// Run analysts' SQL in a process of its own; started by `serve`
    #[command(hide = true)]
    SqlWorker(SqlWorkerArgs),
}

/// Which city, and the values of its variables.
#[derive(Debug, Clone, Args)]
pub(crate) struct CityArgs {
    /// The city's folder
    #[arg(long, env = "SHIYU_CITY", value_name = "DIR")]
    pub(crate) city: PathBuf,

    /// Value of a `${NAME}` in the city's files; else the environment's
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub(crate) variables: Vec<(String, String)>,
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("give it as NAME=VALUE".to_owned()),
    }
}

/// Where the log is.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LogArgs {
    /// The log: `local` (in the data folder), or kafka://HOST:PORT[,HOST:PORT]/PREFIX[?OPTION=VALUE&…]
    #[arg(long, env = "SHIYU_LOG", default_value = "local", value_name = "URL", value_parser = parse_log)]
    pub(crate) log: LogChoice,
    /// Folder that all processes of the city read and write, with Kafka: tables, states that move, keys
    #[arg(long, env = "SHIYU_SHARED", value_name = "DIR")]
    pub(crate) shared: Option<PathBuf>,
}

fn parse_roles(text: &str) -> Result<Roles, String> {
    let mut roles = Roles {
        connect: false,
        ingest: false,
        query: false,
    };
    for name in text.split(',') {
        match name {
            "connect" => roles.connect = true,
            "ingest" => roles.ingest = true,
            "query" => roles.query = true,
            other => return Err(format!("\"{other}\" is no role; there are: connect, ingest, query")),
        }
    }
    Ok(roles)
}

fn parse_log(text: &str) -> Result<LogChoice, String> {
    text.parse()
        .map_err(|error: shiyu_log::kafka::SettingsError| error.to_string())
}

/// Addresses to serve at; port 0 = any free port. Only loopback: other addresses need TLS and tokens.
#[derive(Debug, Clone, Args)]
pub(crate) struct AddressArgs {
    /// gRPC: intake and risk
    #[arg(long, default_value = "127.0.0.1:7110", value_name = "HOST:PORT")]
    pub(crate) grpc: SocketAddr,
    /// Arrow Flight SQL
    #[arg(long, default_value = "127.0.0.1:7120", value_name = "HOST:PORT")]
    pub(crate) flight: SocketAddr,
    /// PostgreSQL wire protocol
    #[arg(long, default_value = "127.0.0.1:7130", value_name = "HOST:PORT")]
    pub(crate) postgres: SocketAddr,
    /// HTTP: /healthz, /readyz, /metrics
    #[arg(long, default_value = "127.0.0.1:7140", value_name = "HOST:PORT")]
    pub(crate) http: SocketAddr,
    /// PEM file of the certificate chain
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// PEM file of the private key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// File of access tokens, one `name:token` a line
    #[arg(long, value_name = "FILE")]
    pub(crate) tokens: Option<PathBuf>,
}

/// `shiyu demo`
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Seed of the invented city
    #[arg(long, default_value_t = 7)]
    pub(crate) seed: u64,
    /// Days to simulate
    #[arg(long, default_value_t = 30)]
    pub(crate) days: u32,
    /// Share of a full city's records
    #[arg(long, default_value_t = 0.2)]
    pub(crate) scale: f64,
    /// Load, answer the sample SQL, and end
    #[arg(long)]
    pub(crate) once: bool,
    /// Live on behind those days, so many times as fast as the clock; 0 = stand still
    #[arg(long, default_value_t = 60.0, value_name = "SPEED")]
    pub(crate) live: f64,
    /// Addresses
    #[command(flatten)]
    pub(crate) addresses: AddressArgs,
}

/// `shiyu serve`
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// City
    #[command(flatten)]
    pub(crate) city: CityArgs,
    /// Log
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// What this process does: connect (takes records), ingest (folds them into tables), query (SQL and scores)
    #[arg(long = "role", env = "SHIYU_ROLE", default_value = "connect,ingest,query", value_name = "ROLE,…", value_parser = parse_roles)]
    pub(crate) roles: Roles,
    /// Addresses
    #[command(flatten)]
    pub(crate) addresses: AddressArgs,
    /// Memory an analyst's SQL may take, MiB
    #[arg(long, default_value_t = 1024, value_name = "MIB")]
    pub(crate) sql_memory: u64,
    /// Trim the log: MiB kept per partition; older segments go once they are folded and in every backup [default: keep all]
    #[arg(long, value_name = "MIB")]
    pub(crate) log_keep: Option<u64>,
}

/// `shiyu load`
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// City
    #[command(flatten)]
    pub(crate) city: CityArgs,
    /// Log
    #[command(flatten)]
    pub(crate) log: LogArgs,
    /// connect,ingest, or connect: with Kafka, only put the records into the log
    #[arg(long = "role", env = "SHIYU_ROLE", default_value = "connect,ingest", value_name = "ROLE,…", value_parser = parse_roles)]
    pub(crate) roles: Roles,
    /// Feeds to load [default: all]
    #[arg(long = "feed", value_name = "FEED")]
    pub(crate) feeds: Vec<String>,
    /// Files and folders to read [default: those of the manifests]
    #[arg(long = "input", value_name = "PATH", num_args = 1..)]
    pub(crate) inputs: Vec<PathBuf>,
}

/// `shiyu sql`
#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// City [default: the data folder's]
    #[arg(long, env = "SHIYU_CITY", value_name = "DIR")]
    pub(crate) city: Option<PathBuf>,
    /// Value of a `${NAME}` in the city's files; else the environment's
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub(crate) variables: Vec<(String, String)>,
    /// The question
    pub(crate) query: String,
}

/// `shiyu watch …`
#[derive(Debug, Subcommand)]
pub(crate) enum WatchCommand {
    /// Subscribe to risk scores
    #[command(
        after_help = "Examples:\n  shiyu watch risk\n  shiyu watch risk --min-level yellow --area district=01\n  shiyu watch risk --once --output json"
    )]
    Risk(WatchRiskArgs),
}

/// `shiyu watch risk`
#[derive(Debug, Args)]
pub(crate) struct WatchRiskArgs {
    /// The hub's gRPC address
    #[arg(long, default_value = "http://127.0.0.1:7110", value_name = "URL")]
    pub(crate) address: String,
    /// Access token
    #[arg(long, env = "SHIYU_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Risk model [default: the city's first]
    #[arg(long, default_value = "")]
    pub(crate) model: String,
    /// Only this area
    #[arg(long, value_name = "LEVEL=CODE", value_parser = parse_variable)]
    pub(crate) area: Option<(String, String)>,
    /// H3 resolution [default: the model's]
    #[arg(long, default_value_t = 0)]
    pub(crate) resolution: u32,
    /// Least level: green, blue, yellow, orange, red
    #[arg(long, default_value = "green")]
    pub(crate) min_level: String,
    /// Go on behind this token
    #[arg(long, default_value = "")]
    pub(crate) resume: String,
    /// Print the snapshot and end
    #[arg(long)]
    pub(crate) once: bool,
}

/// `shiyu check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// City
    #[command(flatten)]
    pub(crate) city: CityArgs,
}

/// `shiyu simulate`
#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    /// Seed: the same seed gives the same bytes
    #[arg(long)]
    pub(crate) seed: u64,
    /// Days to simulate, from 2025-01-01 on
    #[arg(long)]
    pub(crate) days: u32,
    /// Share of a full city's records, 0.001 to 100
    #[arg(long, default_value_t = 1.0)]
    pub(crate) scale: f64,
    /// Grids, 400 to 9375
    #[arg(long, default_value_t = 2_000)]
    pub(crate) grids: u32,
    /// Threads that make days; they do not change a byte [default: one a core]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(crate) threads: usize,
    /// Folder to write to; may be left out with --live
    #[arg(long, value_name = "DIR", required_unless_present = "live")]
    pub(crate) out: Option<PathBuf>,
    /// Print what came out beside what the sources say
    #[arg(long)]
    pub(crate) statistics: bool,
    /// Then live on into a running hub, so many times as fast as the clock
    #[arg(long, value_name = "SPEED")]
    pub(crate) live: Option<f64>,
    /// With --live: the hub's gRPC address
    #[arg(long, default_value = "http://127.0.0.1:7110", value_name = "URL")]
    pub(crate) address: String,
    /// With --live: access token
    #[arg(long, env = "SHIYU_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// With --live: end after so many simulated days
    #[arg(long, value_name = "DAYS")]
    pub(crate) live_days: Option<u32>,
}

/// `shiyu score-truth`
#[derive(Debug, Args)]
pub(crate) struct ScoreTruthArgs {
    /// Folder `truth` of a simulation
    #[arg(long, value_name = "DIR")]
    pub(crate) truth: PathBuf,
}

/// `shiyu list …`
#[derive(Debug, Subcommand)]
pub(crate) enum ListCommand {
    /// Ways records get in
    Connectors,
    /// SQL functions
    Functions,
    /// Risk models of a city
    Models(CityArgs),
}

/// `shiyu backup`
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// City
    #[command(flatten)]
    pub(crate) city: CityArgs,
    /// Folder to write to, empty or missing; on the hub's machine
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
}

/// `shiyu restore`
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// Read everything back and compare it with the backup
    #[arg(long)]
    pub(crate) verify: bool,
}

/// `shiyu rebuild`
#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    /// City
    #[command(flatten)]
    pub(crate) city: CityArgs,
}

/// `shiyu rejections …`
#[derive(Debug, Subcommand)]
pub(crate) enum RejectionsCommand {
    /// List rejections, oldest first, without their originals
    List(RejectionsArgs),
    /// Print the original of one rejection; needs the data folder's key
    Show(RejectionShowArgs),
    /// Push the originals again, once mapping or crosswalk are repaired; needs the data folder's key
    Replay(RejectionReplayArgs),
}

/// `shiyu rejections list`
#[derive(Debug, Clone, Args)]
pub(crate) struct RejectionsArgs {
    /// City
    #[command(flatten)]
    pub(crate) city: CityArgs,
    /// Only this feed's
    #[arg(long, default_value = "")]
    pub(crate) feed: String,
    /// Only those with this code
    #[arg(long, default_value = "", value_name = "CODE")]
    pub(crate) reason: String,
}

/// `shiyu rejections show`
#[derive(Debug, Args)]
pub(crate) struct RejectionShowArgs {
    /// City
    #[command(flatten)]
    pub(crate) city: CityArgs,
    /// Number of the rejection, from `list`
    pub(crate) number: u64,
}

/// `shiyu rejections replay`
#[derive(Debug, Args)]
pub(crate) struct RejectionReplayArgs {
    /// Which
    #[command(flatten)]
    pub(crate) which: RejectionsArgs,
    /// Only count them
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `shiyu revisions …`
#[derive(Debug, Subcommand)]
pub(crate) enum RevisionsCommand {
    /// List revisions in the order in which they came; one that came back stands twice
    #[command(
        after_help = "Examples:\n  shiyu revisions list --city deploy/cities/yunlan\n  shiyu --data-dir hub revisions list --output csv"
    )]
    List(RevisionsArgs),
    /// Write the files of a revision to a new folder
    #[command(
        after_help = "Examples:\n  shiyu revisions show --city deploy/cities/yunlan 5d3c09b12f6a7e84 --out yunlan-then\n  shiyu check --city yunlan-then\n\nThe beginning of the hash is enough, where it is clear. Files from outside of the city's folder, which a\nvariable named, lie in variables/NAME: give --var NAME=DIR/variables/NAME."
    )]
    Show(RevisionShowArgs),
}

/// `shiyu revisions list`
#[derive(Debug, Args)]
pub(crate) struct RevisionsArgs {
    /// The city's folder; it need not be right [default: the data folder's city]
    #[arg(long, env = "SHIYU_CITY", value_name = "DIR")]
    pub(crate) city: Option<PathBuf>,
    /// The log: `local` (in the data folder), or kafka://HOST:PORT[,HOST:PORT]/PREFIX[?OPTION=VALUE&…]
    #[arg(long, env = "SHIYU_LOG", default_value = "local", value_name = "URL", value_parser = parse_log)]
    pub(crate) log: LogChoice,
}

/// `shiyu revisions show`
#[derive(Debug, Args)]
pub(crate) struct RevisionShowArgs {
    /// Where
    #[command(flatten)]
    pub(crate) which: RevisionsArgs,
    /// The revision, from `list` or a table
    pub(crate) hash: String,
    /// Folder to write to, empty or missing
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// `shiyu sql-worker`
#[derive(Debug, Args)]
pub(crate) struct SqlWorkerArgs {
    /// City
    #[command(flatten)]
    pub(crate) city: CityArgs,
    /// Addresses
    #[command(flatten)]
    pub(crate) addresses: AddressArgs,
    /// Memory a query may take, MiB
    #[arg(long, default_value_t = 1024)]
    pub(crate) sql_memory: u64,
}
