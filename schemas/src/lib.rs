//! Words and shapes of Shiyu: protobuf, Arrow schemas, codes, time, place, the city folder. No IO: everything is parsed from bytes.
//!
//! In reading order:
//! - [`v1`]: the protobuf messages and services (`schemas/proto/shiyu/v1`)
//! - [`place`]: latitude and longitude, H3 cells, datums, areas
//! - [`time`]: clocks of sources, time zones, precision
//! - [`code`]: closed vocabularies: channel, origin, precision, outcome, level
//! - [`lifecycle`]: states of a case and the table "standard term → ours"
//! - [`rejection`]: why a record was refused
//! - [`privacy`]: the fields that are never admitted
//! - [`table`]: Arrow schemas of every table
//! - [`city`]: the city folder: city, feeds, areas, categories, models

pub mod city;
pub mod code;
pub mod lifecycle;
pub mod place;
pub mod privacy;
pub mod rejection;
pub mod table;
pub mod time;

/// Protobuf messages and services of package `shiyu.v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated from schemas/proto"
)]
pub mod v1 {
    tonic::include_proto!("shiyu.v1");

    /// The compiled descriptors, for gRPC reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/shiyu.v1.bin"));
}
