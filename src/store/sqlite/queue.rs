//! The bounded queue before the writer: four classes, served in their order, none of which can starve another.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use crate::store::{StoreError, StoreResult};

/// In which order requests of a group are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Somebody outside waits for the answer.
    Accept,
    /// A run goes on.
    Settle,
    /// Runs are handed out.
    Claim,
    /// Everything that can wait, in slices of about a millisecond.
    Maintain,
}

/// At most so many of each class in one group. Each class has a share of its own, so that a flood of leads does not
/// keep runs from ending; together they bound how long one sync is awaited.
const GROUP_MAX: [usize; 4] = [256, 256, 16, 1];

/// A request that waits for the writer.
pub(super) trait Job: Send {
    /// Does its work inside the group's transaction. May be called again after a rollback. An `Err` means that the
    /// transaction must be rolled back; a refusal that wrote nothing is kept as the answer instead.
    fn apply(&mut self, conn: &Connection) -> rusqlite::Result<()>;
    /// Answers whoever waits: with what [`Job::apply`] found, once that is on disk, or with `failure`. When nobody
    /// waits any more, it may return what has to be done about it.
    fn answer(self: Box<Self>, failure: Option<&StoreError>) -> Option<Box<dyn Job>>;
}

/// Requests that wait.
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    len_max: usize,
}

struct State {
    classes: [VecDeque<Box<dyn Job>>; 4],
    len: usize,
    open: bool,
}

impl Queue {
    /// An empty queue that holds `len_max` requests.
    pub(super) fn new(len_max: usize) -> Self {
        let state = State { classes: Default::default(), len: 0, open: true };
        Self { state: Mutex::new(state), wake: Condvar::new(), len_max }
    }

    /// Adds a request, or refuses it at once.
    pub(super) fn push(&self, class: Class, job: Box<dyn Job>) -> StoreResult<()> {
        let mut state = self.lock();
        if !state.open {
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        }
        if state.len >= self.len_max {
            return Err(StoreError::Unavailable(format!("{} requests wait for the disk", state.len)));
        }
        state.push(class, job);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Adds a request of the writer's own, whatever waits.
    pub(super) fn push_own(&self, class: Class, job: Box<dyn Job>) {
        self.lock().push(class, job);
    }

    /// The next group, in order of service. Waits for one; `None` when the queue is closed and empty.
    pub(super) fn group(&self) -> Option<Vec<Box<dyn Job>>> {
        let mut state = self.lock();
        while state.len == 0 {
            if !state.open {
                return None;
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let mut group = Vec::with_capacity(state.len.min(GROUP_MAX.iter().sum()));
        for (class, max) in state.classes.iter_mut().zip(GROUP_MAX) {
            let take = class.len().min(max);
            group.extend(class.drain(..take));
        }
        state.len -= group.len();
        Some(group)
    }

    /// No more requests; what waits is still served.
    pub(super) fn close(&self) {
        self.lock().open = false;
        self.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, class: Class, job: Box<dyn Job>) {
        self.classes[class as usize].push_back(job);
        self.len += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Idle;

    impl Job for Idle {
        fn apply(&mut self, _: &Connection) -> rusqlite::Result<()> {
            Ok(())
        }
        fn answer(self: Box<Self>, _: Option<&StoreError>) -> Option<Box<dyn Job>> {
            None
        }
    }

    #[test]
    fn a_full_queue_refuses_at_once_and_a_closed_one_empties() {
        let queue = Queue::new(2);
        let push = |class| queue.push(class, Box::new(Idle));
        push(Class::Accept).expect("room");
        push(Class::Maintain).expect("room");
        assert!(matches!(push(Class::Settle), Err(StoreError::Unavailable(_))));
        queue.close();
        assert_eq!(queue.group().map(|group| group.len()), Some(2));
        assert!(queue.group().is_none());
        assert!(push(Class::Accept).is_err());
    }

    #[test]
    fn a_flood_of_one_class_leaves_the_others_their_share() {
        let queue = Queue::new(10_000);
        for _ in 0..1_000 {
            queue.push(Class::Accept, Box::new(Idle)).expect("room");
        }
        queue.push(Class::Settle, Box::new(Idle)).expect("room");
        for _ in 0..3 {
            queue.push(Class::Maintain, Box::new(Idle)).expect("room");
        }
        let sizes: Vec<usize> = (0..4).filter_map(|_| queue.group()).map(|group| group.len()).collect();
        assert_eq!(sizes, [258, 257, 257, 232]);
    }
}
