//! shiyu-simulate
