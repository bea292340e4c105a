//! Logs: human on a terminal, JSON otherwise. No secret, no signature, no lead data.
