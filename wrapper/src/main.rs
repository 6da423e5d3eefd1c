//! larder.
fn main() {}
