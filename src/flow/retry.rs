//! Retry policies as flows declare them. The waits they give are computed in `run/retry`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When and how often to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// The kind of wait.
    pub kind: RetryKind,
    /// Retries after the first try.
    pub count: u32,
    /// The base interval.
    pub interval: Duration,
    /// The shortest wait of `exponential`.
    pub min_interval: Duration,
    /// The longest wait of `exponential`.
    pub max_interval: Duration,
}

/// Kinds of retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryKind {
    /// No retry.
    None,
    /// The same wait each time.
    Fixed,
    /// Growing waits with randomness.
    Exponential,
}

impl RetryPolicy {
    /// No retry at all.
    pub const fn none() -> Self {
        Self {
            kind: RetryKind::None,
            count: 0,
            interval: Duration::ZERO,
            min_interval: Duration::ZERO,
            max_interval: Duration::ZERO,
        }
    }
}

impl Default for RetryPolicy {
    /// 90 retries from 7 s to 1 h: about three days.
    fn default() -> Self {
        Self {
            kind: RetryKind::Exponential,
            count: 90,
            interval: Duration::from_secs(7),
            min_interval: Duration::from_secs(5),
            max_interval: Duration::from_secs(3600),
        }
    }
}
