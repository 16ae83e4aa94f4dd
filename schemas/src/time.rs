//! Clocks of sources.
