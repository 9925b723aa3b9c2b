//! Rings 2 and 3.
pub mod host;
pub mod pool;
