//! Ring 2.
fn main() {}
