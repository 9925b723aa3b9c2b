//! Ring 3.
fn main() {}
