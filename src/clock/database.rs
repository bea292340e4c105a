//! The database's time on a machine whose own clock may be wrong: the monotonic clock and an offset, which is measured at
//! every heartbeat.
//!
//! Promises: it never goes back within a process; where the database's does (another one took over), it goes on at half
//! its speed until it is met. The machine's wall clock is never read, so that setting it changes nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Clock, Fut, MICROS_PER_SEC, Micros, Sample, micros};

/// A round trip up to here measures better than what was known before; a longer one only corrects what it refutes.
const ROUND_TRIP_GOOD: Micros = MICROS_PER_SEC / 10;
/// How often a sleeper looks whether the database's time has moved otherwise than expected.
const LOOK: Duration = Duration::from_secs(1);

/// Follows the database's time.
#[derive(Debug)]
pub struct DatabaseClock {
    /// What monotonic times count from.
    origin: Instant,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// The database's time less the monotonic time.
    offset: Micros,
    /// What was shown at the last sample, and when: it is never less than that, and half of what has passed since.
    shown: Micros,
    shown_at: Micros,
}

impl State {
    fn at(&self, monotonic: Micros) -> Micros {
        let slow = self.shown.saturating_add(monotonic.saturating_sub(self.shown_at) / 2);
        self.offset.saturating_add(monotonic).max(slow)
    }
}

impl DatabaseClock {
    /// A clock that shows what the database said.
    pub fn new(first: Sample) -> Self {
        let origin = first.asked;
        let state = State { offset: first.database, shown: Micros::MIN, shown_at: 0 };
        let clock = Self { origin, state: Mutex::new(state) };
        let middle = micros(first.answered.saturating_duration_since(origin)) / 2;
        clock.lock().offset = first.database.saturating_sub(middle);
        clock
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn monotonic(&self, at: Instant) -> Micros {
        micros(at.saturating_duration_since(self.origin))
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> Micros {
        let monotonic = self.monotonic(Instant::now());
        self.lock().at(monotonic)
    }

    fn sleep_until(&self, at: Micros) -> Fut<'_, ()> {
        Box::pin(async move {
            loop {
                let left = at.saturating_sub(self.now());
                if left <= 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_micros(left.unsigned_abs()).min(LOOK)).await;
            }
        })
    }

    fn follow(&self, sample: Sample) {
        let (asked, answered) = (self.monotonic(sample.asked), self.monotonic(sample.answered));
        let now = self.monotonic(Instant::now());
        // The database said its time at some moment between question and answer.
        let (least, most) = (sample.database.saturating_sub(answered), sample.database.saturating_sub(asked));
        let mut state = self.lock();
        let shown = state.at(now);
        let offset =
            if answered - asked <= ROUND_TRIP_GOOD { least.midpoint(most) } else { state.offset.clamp(least, most) };
        *state = State { offset, shown, shown_at: now };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Micros = 1_700_000_000 * MICROS_PER_SEC;

    fn sample(trip: Duration, database: Micros) -> Sample {
        let answered = Instant::now();
        Sample { asked: answered - trip, answered, database }
    }

    fn millis(millis: i64) -> Micros {
        millis * 1000
    }

    #[tokio::test(start_paused = true)]
    async fn it_shows_the_middle_of_the_round_trip_and_goes_on() {
        tokio::time::advance(Duration::from_secs(60)).await;
        let clock = DatabaseClock::new(sample(Duration::from_millis(80), T0));
        assert_eq!(clock.now(), T0 + millis(40));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now(), T0 + millis(5_040));
        clock.follow(sample(Duration::from_millis(20), T0 + millis(6_000)));
        assert_eq!(clock.now(), T0 + millis(6_010), "a good measurement counts");
        clock.follow(sample(Duration::from_secs(2), T0 + millis(5_000)));
        assert_eq!(clock.now(), T0 + millis(6_010), "a bad one that allows it changes nothing");
        clock.follow(sample(Duration::from_secs(2), T0 + millis(8_000)));
        assert_eq!(clock.now(), T0 + millis(8_000), "one that refutes it corrects as little as it must");
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_goes_back_and_is_met_again() {
        let clock = DatabaseClock::new(sample(Duration::ZERO, T0));
        clock.follow(sample(Duration::ZERO, T0 - millis(10_000)));
        assert_eq!(clock.now(), T0);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(clock.now(), T0 + millis(5_000), "at half its speed");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(clock.now(), T0 + millis(10_000), "met");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(clock.now(), T0 + millis(20_000), "and together from then on");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleeper_wakes_when_the_time_has_come_by_the_database() {
        let clock = std::sync::Arc::new(DatabaseClock::new(sample(Duration::ZERO, T0)));
        let began = Instant::now();
        let sleeping = tokio::spawn({
            let clock = std::sync::Arc::clone(&clock);
            async move { clock.sleep_until(T0 + millis(60_000)).await }
        });
        tokio::time::sleep(Duration::from_secs(10)).await;
        clock.follow(sample(Duration::ZERO, T0 + millis(59_500)));
        sleeping.await.expect("no panic");
        assert!(began.elapsed() <= Duration::from_secs(11), "{:?}", began.elapsed());
        assert!(clock.now() >= T0 + millis(60_000));
    }
}
