//! idtokenctl.
fn main() {}
