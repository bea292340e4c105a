//! Durations, sizes and rates as users type them: `30s`, `PT30S`, `1MiB`, `20/s`.

use std::time::Duration;

/// So many per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Permits per second.
    pub per_second: f64,
}

/// Parses `250ms`, `30s`, `10m`, `2h`, `28d`, sums like `1h30m`, or ISO 8601 (`PT30S`, `P1D`, `P1DT2H`).
pub fn duration(text: &str) -> Result<Duration, String> {
    let _ = text;
    unimplemented!()
}

/// Prints a duration the way [`duration`] reads it, shortest form: `1h30m`.
pub fn print_duration(duration: Duration) -> String {
    let _ = duration;
    unimplemented!()
}

/// Parses `64KiB`, `1MiB`, `10MB`, `512B` or plain bytes.
pub fn size(text: &str) -> Result<u64, String> {
    let _ = text;
    unimplemented!()
}

/// Parses `20/s`, `500/m`, `1000/h`.
pub fn rate(text: &str) -> Result<Rate, String> {
    let _ = text;
    unimplemented!()
}
