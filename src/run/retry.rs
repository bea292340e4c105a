//! The waits that a retry policy gives: Power Automate's rule, pure, with the randomness handed in.

use std::time::Duration;

use crate::flow::retry::{RetryKind, RetryPolicy};

/// How many ended tries a step remembers, newest kept.
pub const TRIES_KEPT_MAX: usize = 100;

/// The wait before retry number `n` (from 1); `None` when the policy has no such retry.
///
/// Exponential is uniform in `[max(2^(n-2)·interval, min), min(2^(n-1)·interval, max)]`, the first lower bound being
/// `min` (POWER-AUTOMATE: retry policies of Logic Apps). `dice` is in `0.0..1.0`.
pub fn wait(policy: &RetryPolicy, n: u32, dice: f64) -> Option<Duration> {
    if n == 0 || n > policy.count {
        return None;
    }
    match policy.kind {
        RetryKind::None => None,
        RetryKind::Fixed => Some(policy.interval),
        RetryKind::Exponential => {
            let upper = power(policy.interval, n - 1).min(policy.max_interval);
            let lower =
                if n == 1 { policy.min_interval } else { power(policy.interval, n - 2).max(policy.min_interval) };
            let lower = lower.min(upper);
            Some(lower + upper.saturating_sub(lower).mul_f64(dice.clamp(0.0, 1.0)))
        }
    }
}

/// `interval · 2^exponent`, saturating.
fn power(interval: Duration, exponent: u32) -> Duration {
    interval.checked_mul(1_u32.checked_shl(exponent).unwrap_or(u32::MAX)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_lasts_about_three_days() {
        let policy = RetryPolicy::default();
        let total: Duration = (1..=policy.count).filter_map(|n| wait(&policy, n, 0.5)).sum();
        assert!(total > Duration::from_hours(70), "{total:?}");
        assert!(total < Duration::from_hours(90), "{total:?}");
        assert_eq!(wait(&policy, policy.count + 1, 0.5), None);
    }

    #[test]
    fn bounds_follow_the_rule() {
        let policy = RetryPolicy::default();
        assert_eq!(wait(&policy, 1, 0.0), Some(Duration::from_secs(5)));
        assert_eq!(wait(&policy, 1, 1.0), Some(Duration::from_secs(7)));
        assert_eq!(wait(&policy, 2, 0.0), Some(Duration::from_secs(7)));
        assert_eq!(wait(&policy, 2, 1.0), Some(Duration::from_secs(14)));
        assert_eq!(wait(&policy, 80, 0.0), Some(Duration::from_secs(3600)));
        assert_eq!(wait(&RetryPolicy::none(), 1, 0.0), None);
    }
}
