//! Virtual time. Every process has a runtime whose clock stands unless it is stepped; the store's time is the latest that
//! any of them has reached, as if it were asked over wires of no length.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use leadflow::clock::{Clock, DatabaseClock, Fut, Micros, Sample, micros};
use tokio::time::Instant;

use crate::support::dice::Dice;

thread_local! {
    static CHANCE: RefCell<Dice> = RefCell::new(Dice::new(0));
    /// The time that was shown last, and how often since.
    static STANDING: Cell<(Micros, u64)> = const { Cell::new((0, 0)) };
    /// Of the process at work: a moment of its clock, and the time that it was then.
    static HERE: Cell<Option<(Instant, Micros)>> = const { Cell::new(None) };
}

/// Begins a seed: all chance of this thread comes from it.
pub(super) fn begin(seed: u64) {
    CHANCE.set(Dice::new(seed));
    HERE.set(None);
    STANDING.set((0, 0));
}

/// A number below `sides`.
pub(super) fn roll(sides: usize) -> usize {
    CHANCE.with_borrow_mut(|dice| dice.roll(sides))
}

/// What the engine throws: `0.0..1.0`.
pub(super) fn dice() -> f64 {
    roll(1 << 20) as f64 / f64::from(1 << 20)
}

/// A time from `least` to `most` milliseconds.
pub(super) fn some_millis(least: u64, most: u64) -> Duration {
    Duration::from_millis(least + roll((most - least + 1) as usize) as u64)
}

/// Works in a process: the store's time is its time, as far as it is ahead. Outside of one there is no time at all.
pub(super) fn work_in<T>(origin: Instant, born: Micros, work: impl FnOnce() -> T) -> T {
    HERE.set(Some((origin, born)));
    let done = work();
    HERE.set(None);
    done
}

/// The store's time.
#[derive(Debug)]
pub(super) struct StoreTime(AtomicI64);

impl StoreTime {
    pub(super) fn new(now: Micros) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(now)))
    }
}

impl Clock for StoreTime {
    fn now(&self) -> Micros {
        let here = HERE.get().map_or(Micros::MIN, |(origin, born)| born + micros(Instant::now() - origin));
        self.0.fetch_max(here, Ordering::SeqCst).max(here)
    }

    fn sleep_until(&self, _: Micros) -> Fut<'_, ()> {
        Box::pin(std::future::pending())
    }
}

/// The real clock of a node, wrong by what a test says.
pub(super) struct WrongClock {
    pub(super) inner: DatabaseClock,
    pub(super) error: Arc<AtomicI64>,
}

/// How often the time may be asked while it stands.
const ASKED_MAX: u64 = 100_000;
/// How often a sleeper looks whether the clock was set.
const LOOK: Duration = Duration::from_millis(500);

impl Clock for WrongClock {
    fn now(&self) -> Micros {
        let now = self.inner.now();
        let (last, asked) = STANDING.get();
        let asked = if now == last { asked + 1 } else { 0 };
        STANDING.set((now, asked));
        // Somebody turns in circles: without this the seed would never end.
        assert!(asked < ASKED_MAX, "the time was asked {ASKED_MAX} times without passing");
        now + self.error.load(Ordering::SeqCst)
    }

    fn sleep_until(&self, at: Micros) -> Fut<'_, ()> {
        Box::pin(async move {
            while self.now() < at {
                let left = Duration::from_micros((at - self.now()).unsigned_abs());
                tokio::time::sleep(left.min(LOOK)).await;
            }
        })
    }

    fn follow(&self, sample: Sample) {
        self.inner.follow(sample);
    }
}
