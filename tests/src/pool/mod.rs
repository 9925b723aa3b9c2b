//! A real pool for ring 3.
