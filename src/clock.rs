//! The one place that reads the time.
//!
//! Durable comparisons use [`Micros`] (UTC); tests and dry runs move a [`ManualClock`] instead of waiting.

mod database;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use database::DatabaseClock;
use tokio::time::Instant;

/// Microseconds since 1970-01-01T00:00:00Z: the unit of every stored time.
pub type Micros = i64;

/// Microseconds in one second.
pub const MICROS_PER_SEC: i64 = 1_000_000;

/// A boxed future, for traits that are used as `dyn`.
pub type Fut<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where time comes from.
pub trait Clock: Send + Sync {
    /// Now, in microseconds UTC.
    fn now(&self) -> Micros;
    /// Resolves when [`Clock::now`] has reached `at`.
    fn sleep_until(&self, at: Micros) -> Fut<'_, ()>;
    /// Tells it what time the database has. A clock that does not keep the database's time does not care.
    fn follow(&self, sample: Sample) {
        let _ = sample;
    }
}

/// What the database said of its time, and when it was asked.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// When it was asked, by this machine's monotonic clock.
    pub asked: Instant,
    /// When it had answered.
    pub answered: Instant,
    /// What it said.
    pub database: Micros,
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Micros {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn sleep_until(&self, at: Micros) -> Fut<'_, ()> {
        let wait = Duration::from_micros(u64::try_from(at.saturating_sub(self.now())).unwrap_or(0));
        Box::pin(tokio::time::sleep(wait))
    }
}

/// A clock that moves only when told, or when somebody sleeps on it: a dry run passes a three-day delay at once.
#[derive(Debug)]
pub struct ManualClock {
    now: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Micros) -> Self {
        Self { now: AtomicI64::new(now) }
    }

    /// Moves the clock forward by `by`.
    pub fn advance(&self, by: Duration) {
        self.now.fetch_add(micros(by), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Micros {
        self.now.load(Ordering::SeqCst)
    }

    fn sleep_until(&self, at: Micros) -> Fut<'_, ()> {
        self.now.fetch_max(at, Ordering::SeqCst);
        Box::pin(std::future::ready(()))
    }
}

/// A duration in microseconds, saturating.
pub fn micros(duration: Duration) -> Micros {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// RFC 3339 in UTC with whole seconds for people: `2026-11-21 09:14:03Z`.
pub fn human(at: Micros) -> String {
    match jiff::Timestamp::from_microsecond(at) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => format!("{at} µs"),
    }
}

/// RFC 3339 in UTC with milliseconds, as in `--json` output: `2026-11-21T09:14:03.120Z`.
pub fn rfc3339(at: Micros) -> String {
    match jiff::Timestamp::from_microsecond(at) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string(),
        Err(_) => format!("{at} µs"),
    }
}
