//! A PAM application for ring 2.
