//! shiyu-function
