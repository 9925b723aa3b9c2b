//! The life of a session's token.
