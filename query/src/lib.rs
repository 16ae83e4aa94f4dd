//! shiyu-query
