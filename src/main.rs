//! shiyu
fn main() {}
