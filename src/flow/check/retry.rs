//! `retry:` into a policy.

use std::time::Duration;

use crate::flow::format::RetryFile;
use crate::flow::retry::{RetryKind, RetryPolicy};
use crate::units;

/// Shortest wait of `exponential`, where the interval is not shorter.
const MIN_INTERVAL: Duration = Duration::from_secs(5);
/// Longest wait of `exponential`, where the interval is not longer.
const MAX_INTERVAL: Duration = Duration::from_secs(3600);

/// The policy that `file` declares; what it leaves open comes from `defaults`. The error names the key.
pub(super) fn policy(file: &RetryFile, defaults: &RetryPolicy) -> Result<RetryPolicy, (&'static str, String)> {
    let default_kind = if defaults.kind == RetryKind::None { RetryKind::Exponential } else { defaults.kind };
    let kind = file.policy.unwrap_or(default_kind);
    let given = |text: &Option<String>| text.as_deref().and_then(|text| units::duration(text).ok());
    if kind != RetryKind::Exponential {
        let extra = [("min_interval", &file.min_interval), ("max_interval", &file.max_interval)];
        if let Some((key, _)) = extra.iter().find(|(_, value)| value.is_some()) {
            return Err((key, format!("`{key}` belongs to the policy `exponential`")));
        }
    }
    if kind == RetryKind::None {
        return match (&file.count, &file.interval) {
            (Some(count), _) if *count > 0 => Err(("count", "the policy `none` never tries again".into())),
            (_, Some(_)) => Err(("interval", "the policy `none` never waits".into())),
            _ => Ok(RetryPolicy::none()),
        };
    }
    let fallback = if defaults.kind == RetryKind::None { RetryPolicy::default() } else { *defaults };
    let interval = given(&file.interval).unwrap_or(fallback.interval);
    if interval.is_zero() {
        return Err(("interval", "the wait between tries must be longer than nothing".into()));
    }
    let min_interval = given(&file.min_interval).unwrap_or(MIN_INTERVAL.min(interval));
    let default_max = if file.interval.is_some() { MAX_INTERVAL } else { fallback.max_interval };
    let max_interval = given(&file.max_interval).unwrap_or(default_max.max(interval));
    if min_interval > max_interval {
        return Err(("min_interval", "`min_interval` is longer than `max_interval`".into()));
    }
    if interval > max_interval {
        return Err(("max_interval", "`max_interval` is shorter than `interval`".into()));
    }
    Ok(RetryPolicy { kind, count: file.count.unwrap_or(fallback.count), interval, min_interval, max_interval })
}
