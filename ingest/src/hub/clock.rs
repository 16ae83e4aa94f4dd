//! The wall clock, read once: where records enter the log.

/// A clock; tests inject their own.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Microseconds since 1970 UTC.
    fn now_us(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        jiff::Timestamp::now().as_microsecond()
    }
}
