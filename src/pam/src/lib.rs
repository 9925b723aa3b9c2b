//! PAM in, session calls out.
