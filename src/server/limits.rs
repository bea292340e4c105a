//! Rates: token buckets, one for each address or flow, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::clock::{MICROS_PER_SEC, Micros};
use crate::units::Rate;

/// Keys whose buckets are kept; when more come, those that are full again are forgotten first.
const BUCKETS_MAX: usize = 65_536;

/// Buckets by key. A bucket holds what its rate gives in one second, at least one permit.
#[derive(Debug)]
pub(super) struct Buckets<K> {
    rate: Rate,
    held: Mutex<HashMap<K, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    permits: f64,
    at: Micros,
}

impl<K: Hash + Eq> Buckets<K> {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, held: Mutex::new(HashMap::new()) }
    }

    /// Takes one permit of `key`, or says after how many seconds there is one again.
    pub(super) fn take(&self, key: K, now: Micros) -> Result<(), u32> {
        let burst = self.rate.per_second.max(1.0);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= BUCKETS_MAX && !held.contains_key(&key) {
            self.make_room(&mut held, now);
        }
        let bucket = held.entry(key).or_insert(Bucket { permits: burst, at: now });
        bucket.permits = self.refilled(*bucket, now);
        bucket.at = now.max(bucket.at);
        if bucket.permits >= 1.0 {
            bucket.permits -= 1.0;
            return Ok(());
        }
        let wait_secs = (1.0 - bucket.permits) / self.rate.per_second.max(f64::MIN_POSITIVE);
        Err((wait_secs.ceil() as u32).clamp(1, 3600))
    }

    fn refilled(&self, bucket: Bucket, now: Micros) -> f64 {
        let passed_secs = now.saturating_sub(bucket.at).max(0) as f64 / MICROS_PER_SEC as f64;
        (bucket.permits + passed_secs * self.rate.per_second).min(self.rate.per_second.max(1.0))
    }

    /// A flood from many addresses must not grow the map for ever; if every bucket is in use, all start anew.
    fn make_room(&self, held: &mut HashMap<K, Bucket>, now: Micros) {
        let burst = self.rate.per_second.max(1.0);
        held.retain(|_, bucket| self.refilled(*bucket, now) < burst);
        if held.len() >= BUCKETS_MAX {
            held.clear();
        }
    }
}

/// What counts as one address: a whole /64 in IPv6, because one host owns that many.
pub(super) fn address_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = v6.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(network.into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills() {
        let buckets = Buckets::new(Rate { per_second: 2.0 });
        assert_eq!(buckets.take("a", 0), Ok(()));
        assert_eq!(buckets.take("a", 0), Ok(()));
        assert_eq!(buckets.take("a", 0), Err(1));
        assert_eq!(buckets.take("b", 0), Ok(()));
        assert_eq!(buckets.take("a", MICROS_PER_SEC / 2), Ok(()));
        assert_eq!(buckets.take("a", MICROS_PER_SEC / 2), Err(1));
    }

    #[test]
    fn slow_rates_say_how_long_and_a_clock_that_steps_back_harms_nobody() {
        let buckets = Buckets::new(Rate { per_second: 1.0 / 60.0 });
        assert_eq!(buckets.take("a", 5), Ok(()));
        assert_eq!(buckets.take("a", 5), Err(60));
        assert_eq!(buckets.take("a", 0), Err(60));
        assert_eq!(buckets.take("a", 61 * MICROS_PER_SEC), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let buckets = Buckets::new(Rate { per_second: 1.0 });
        for key in 0..2 * BUCKETS_MAX {
            assert_eq!(buckets.take(key, 0), Ok(()));
        }
        assert!(buckets.held.lock().expect("no panic").len() <= BUCKETS_MAX);
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let key = |text: &str| address_key(text.parse().expect("address"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
    }
}
