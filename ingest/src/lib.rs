//! shiyu-ingest
