//! The waits that a retry policy gives: Power Automate's rule, pure, with the randomness handed in.

/// How many ended tries a step remembers, newest kept.
pub const TRIES_KEPT_MAX: usize = 100;
