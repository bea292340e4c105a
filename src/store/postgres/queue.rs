//! The bounded queue before a writer: leads that come and runs that go on each have a share of a group.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::group::{Outcome, Work};
use crate::ids::RunId;
use crate::store::{StoreError, StoreResult};

/// At most so many of each kind in one group, so that a flood of leads does not keep runs from ending.
const GROUP_MAX: usize = 256;

/// A group with more bytes of bodies than this takes nothing more.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// A request that waits for a writer.
pub(super) struct Job {
    /// What to write.
    pub(super) work: Work,
    /// Whoever waits for it. Gone: it is written all the same.
    pub(super) waiter: oneshot::Sender<StoreResult<Outcome>>,
    /// Not begun by then, it is not begun any more: whoever waits was told that it failed.
    pub(super) deadline: Instant,
}

impl Job {
    /// Answers whoever waits.
    pub(super) fn answer(self, answer: StoreResult<Outcome>) {
        // Whoever asked may have gone: the work is done or not done all the same.
        let _ = self.waiter.send(answer);
    }

    fn bytes(&self) -> usize {
        let body = |new: &crate::store::NewRun| new.run.trigger.as_ref().map_or(0, |trigger| trigger.body.len());
        match &self.work {
            Work::Accept(new) => body(new),
            Work::TakeIn(arrivals) => arrivals.iter().map(|arrival| body(&arrival.new)).sum(),
            Work::Commit(commit) => commit.starts.iter().map(body).sum(),
        }
    }
}

/// Requests that wait.
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Notify,
    len_max: usize,
}

struct State {
    /// Leads that come.
    arrivals: VecDeque<Job>,
    /// Runs that go on.
    commits: VecDeque<Job>,
    open: bool,
}

impl State {
    fn len(&self) -> usize {
        self.arrivals.len() + self.commits.len()
    }
}

impl Queue {
    /// An empty queue that holds `len_max` requests.
    pub(super) fn new(len_max: usize) -> Self {
        let state = State { arrivals: VecDeque::new(), commits: VecDeque::new(), open: true };
        Self { state: Mutex::new(state), wake: Notify::new(), len_max }
    }

    /// Adds a request, or refuses it at once.
    pub(super) fn push(&self, job: Job) -> StoreResult<()> {
        let mut state = self.lock();
        if !state.open {
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        }
        if state.len() >= self.len_max {
            return Err(StoreError::Unavailable(format!("{} requests wait for the database", state.len())));
        }
        match job.work {
            Work::Commit(_) => state.commits.push_back(job),
            Work::Accept(_) | Work::TakeIn(_) => state.arrivals.push_back(job),
        }
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// The next group. Waits for one; `None` when the queue is closed and empty.
    pub(super) async fn group(&self) -> Option<Vec<Job>> {
        loop {
            {
                let mut state = self.lock();
                if state.len() > 0 {
                    return Some(take(&mut state));
                }
                if !state.open {
                    return None;
                }
            }
            self.wake.notified().await;
        }
    }

    /// No more requests; what waits is still served.
    pub(super) fn close(&self) {
        self.lock().open = false;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In one group every run is written once: the second write of a run begins the next.
fn take(state: &mut State) -> Vec<Job> {
    let (mut group, mut written, mut bytes) = (Vec::new(), HashSet::new(), 0);
    for class in [&mut state.arrivals, &mut state.commits] {
        for _ in 0..GROUP_MAX {
            let Some(next) = class.front() else { break };
            let runs: Vec<RunId> = next.work.runs().collect();
            let distinct: HashSet<RunId> = runs.iter().copied().collect();
            let is_alone = group.is_empty();
            if !is_alone && (bytes >= GROUP_BYTES_MAX || distinct.iter().any(|run| written.contains(run))) {
                break;
            }
            bytes += next.bytes();
            written.extend(distinct);
            group.extend(class.pop_front());
        }
    }
    group
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::{at, commit, queued};

    fn job(work: Work) -> Job {
        Job { work, waiter: oneshot::channel().0, deadline: Instant::now() }
    }

    #[test]
    fn a_full_queue_refuses_at_once_and_a_closed_one_empties() {
        let queue = Queue::new(2);
        queue.push(job(Work::Accept(queued(0)))).expect("room");
        queue.push(job(Work::Commit(commit(RunId::new(at(1)))))).expect("room");
        assert!(matches!(queue.push(job(Work::Accept(queued(2)))), Err(StoreError::Unavailable(_))));
        queue.close();
        let mut state = queue.lock();
        assert_eq!((take(&mut state).len(), take(&mut state).len()), (2, 0));
    }

    #[test]
    fn a_flood_of_leads_leaves_commits_their_share_and_a_run_is_written_once() {
        let queue = Queue::new(10_000);
        for second in 0..600 {
            queue.push(job(Work::Accept(queued(second)))).expect("room");
        }
        let run = RunId::new(at(9));
        for _ in 0..2 {
            queue.push(job(Work::Commit(commit(run)))).expect("room");
        }
        let mut state = queue.lock();
        let sizes: Vec<usize> = (0..3).map(|_| take(&mut state).len()).collect();
        assert_eq!(sizes, [257, 257, 88]);
    }
}
