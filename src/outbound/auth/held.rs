//! A token that is kept, and until when: pure arithmetic on moments of the monotonic clock.

use std::time::{Duration, Instant};

use crate::secret::Secret;

/// A token is replaced when this part of its life is left …
const MARGIN_PART: u32 = 5;

/// … or this long before it ends, whichever is later.
const MARGIN_MAX: Duration = Duration::from_secs(5 * 60);

/// After a failed replacement of a token that is still valid, the longest wait for the next one.
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// A token that is kept.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// What is shown to the other side.
    pub(super) token: Secret,
    /// Which one it is: grows with every token of its source.
    pub(super) generation: u64,
    /// From then on it is to be replaced.
    replace_at: Instant,
    /// From then on it is not valid.
    ends_at: Instant,
}

impl Held {
    /// A token that was asked for at `asked_at` and lives for `life` from then on, as its server counts.
    pub(super) fn new(token: Secret, generation: u64, asked_at: Instant, life: Duration) -> Self {
        let margin = (life / MARGIN_PART).min(MARGIN_MAX);
        Self { token, generation, replace_at: asked_at + life.saturating_sub(margin), ends_at: asked_at + life }
    }

    /// Whether it is used without further ado.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        now < self.replace_at
    }

    /// Whether the other side still takes it.
    pub(super) fn is_valid(&self, now: Instant) -> bool {
        now < self.ends_at
    }

    /// It is to be replaced now.
    #[cfg(test)]
    pub(super) fn make_due(&mut self) {
        self.replace_at = Instant::now();
    }

    /// A replacement failed at `now`: the next one is tried later, so that not every request waits for it.
    pub(super) fn put_off(&mut self, now: Instant) {
        let left = self.ends_at.saturating_duration_since(now);
        self.replace_at = now + (left / 4).min(AGAIN_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: f64) -> Duration {
        Duration::from_millis((secs * 1000.0) as u64)
    }

    #[test]
    fn a_token_is_replaced_a_fifth_of_its_life_before_it_ends_and_at_most_five_minutes() {
        for (life, fresh_for) in [(3.0, 2.4), (60.0, 48.0), (1500.0, 1200.0), (3600.0, 3300.0), (86400.0, 86100.0)] {
            let asked = Instant::now();
            let held = Held::new(Secret::new("t"), 1, asked, secs(life));
            assert!(held.is_fresh(asked + secs(fresh_for - 0.1)), "{life}");
            assert!(!held.is_fresh(asked + secs(fresh_for)), "{life}");
            assert!(held.is_valid(asked + secs(life - 0.1)) && !held.is_valid(asked + secs(life)), "{life}");
        }
        let asked = Instant::now();
        let none = Held::new(Secret::new("t"), 1, asked, Duration::ZERO);
        assert!(!none.is_fresh(asked) && !none.is_valid(asked));
    }

    #[test]
    fn a_failed_replacement_is_put_off_but_never_past_the_end() {
        let asked = Instant::now();
        let mut held = Held::new(Secret::new("t"), 1, asked, secs(3600.0));
        let now = asked + secs(3300.0);
        held.put_off(now);
        assert!(held.is_fresh(now + secs(29.9)) && !held.is_fresh(now + secs(30.0)));
        let now = asked + secs(3596.0);
        held.put_off(now);
        assert!(held.is_fresh(now + secs(0.9)) && !held.is_fresh(now + secs(1.0)));
        held.put_off(asked + secs(3601.0));
        assert!(!held.is_fresh(asked + secs(3601.0)));
    }
}
