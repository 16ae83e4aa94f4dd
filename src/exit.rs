//! Exit codes, after sysexits.

use std::process::ExitCode;

/// How the program ends; the number is the process' exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All done, or drained after a signal.
    Ok = 0,
    /// The command line is wrong (clap).
    Usage = 64,
    /// Input data or a query is wrong.
    Data = 65,
    /// An input cannot be found.
    NoInput = 66,
    /// A server cannot be reached.
    Unavailable = 69,
    /// A promise of the program itself is broken.
    Software = 70,
    /// The disk failed, or synced bytes are damaged.
    Io = 74,
    /// Stopped before everything was done; run it again.
    TryLater = 75,
    /// Not permitted, or another process owns the data folder.
    NotPermitted = 77,
    /// The city folder or the settings are wrong, or the data folder is of a newer version.
    Config = 78,
}

impl Exit {
    /// All codes with what they mean, for `--help`.
    pub(crate) const TABLE: &'static str = "\
Exit codes:
   0  done, or drained after a signal
  64  wrong command line
  65  wrong input data or query
  66  input not found
  69  server not reachable
  70  a promise of the program is broken
  74  disk failure or damaged data
  75  stopped before everything was done; run it again
  77  not permitted, or another process owns the data folder
  78  wrong city folder or settings, or data of a newer version";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error with the exit code it asks for.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How the program ends.
    pub(crate) exit: Exit,
    /// Printed once, as a chain.
    pub(crate) error: anyhow::Error,
}

impl Failure {
    /// An error that ends the program with `exit`.
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            error: error.into(),
        }
    }
}

/// Gives an error its exit code.
pub(crate) trait OrExit<T> {
    /// Ends the program with `exit` on error.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, error))
    }
}
