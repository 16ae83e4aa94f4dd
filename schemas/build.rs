//! Compiles the protobuf files with protox, so that no protoc is needed.
use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["shiyu/v1/event.proto", "shiyu/v1/intake.proto", "shiyu/v1/risk.proto"];
    println!("cargo:rerun-if-changed=proto");
    let set = protox::compile(files, ["proto"])?;
    let descriptor = PathBuf::from(std::env::var("OUT_DIR")?).join("shiyu.v1.bin");
    std::fs::write(descriptor, set.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .compile_fds(set)?;
    Ok(())
}
