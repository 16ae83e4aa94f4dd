//! Clocks of sources: from a department's text to an instant, its precision and its local date and hour.
//!
//! - [`calendar`]: days since 1970 and back
//! - [`format`](mod@format): the strftime-like formats of manifests, and how a text is read by one
//! - [`zone`]: an IANA zone as a table of its offset changes
//! - [`clock`]: a manifest's clock section, compiled
//!
//! Nothing here reads the clock of the machine.

pub mod calendar;
pub mod clock;
pub mod format;
pub mod zone;

pub use clock::{Clock, Reading};
pub use zone::Zone;
