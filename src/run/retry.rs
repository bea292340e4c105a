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
            // A bound wins over the growth, and of two bounds that cross, the lower: `min_interval` is a promise.
            let grown = |exponent| power(policy.interval, exponent);
            let lower = if n == 1 { policy.min_interval } else { grown(n - 2).max(policy.min_interval) };
            let lower = lower.min(policy.max_interval);
            let upper = grown(n - 1).min(policy.max_interval).max(lower);
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

    /// Retry n is uniform in `[max(2^(n-2)·interval, min), min(2^(n-1)·interval, max)]`, the first from min on.
    #[test]
    fn every_kind_waits_as_the_reference_says() {
        let seconds = |seconds| Duration::from_secs(seconds);
        let policy = |kind, interval, min, max| RetryPolicy {
            kind,
            count: 6,
            interval: seconds(interval),
            min_interval: seconds(min),
            max_interval: seconds(max),
        };
        let bounds = |policy: &RetryPolicy| -> Vec<(u64, u64)> {
            (1..=policy.count)
                .filter_map(|n| Some((wait(policy, n, 0.0)?.as_secs(), wait(policy, n, 1.0)?.as_secs())))
                .collect()
        };
        let exponential = |interval, min, max| bounds(&policy(RetryKind::Exponential, interval, min, max));
        assert_eq!(exponential(7, 5, 100), [(5, 7), (7, 14), (14, 28), (28, 56), (56, 100), (100, 100)]);
        assert_eq!(exponential(10, 10, 30), [(10, 10), (10, 20), (20, 30), (30, 30), (30, 30), (30, 30)]);
        // A shortest wait above the interval holds until the growth has reached it.
        assert_eq!(exponential(5, 30, 60), [(30, 30), (30, 30), (30, 30), (30, 40), (40, 60), (60, 60)]);
        assert_eq!(bounds(&policy(RetryKind::Fixed, 9, 0, 0)), [(9, 9); 6]);
        assert_eq!(bounds(&policy(RetryKind::None, 9, 0, 0)), []);
        let far = RetryPolicy { count: 10_000, ..policy(RetryKind::Exponential, 7, 5, 3600) };
        assert_eq!(wait(&far, 10_000, 0.5), Some(seconds(3600)));
        assert_eq!((wait(&far, 0, 0.5), wait(&far, 10_001, 0.5)), (None, None));
    }

    proptest::proptest! {
        #[test]
        fn no_wait_leaves_its_bounds(
            interval in 1_u64..5000, min in 0_u64..5000, longer in 0_u64..5000, n in 1_u32..200, dice in 0.0..1.0_f64,
        ) {
            let policy = RetryPolicy {
                count: 200,
                interval: Duration::from_millis(interval),
                min_interval: Duration::from_millis(min),
                max_interval: Duration::from_millis(min + longer),
                ..RetryPolicy::default()
            };
            let waited = wait(&policy, n, dice).expect("a retry");
            proptest::prop_assert!(waited >= policy.min_interval && waited <= policy.max_interval);
        }
    }
}
