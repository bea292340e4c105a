//! The tasks that write. Promise: a request is answered `Ok` only after the `COMMIT` of the transaction that holds it.
//!
//! Group commit without a timer: whatever queued up during the last commit becomes one transaction. A request whose
//! statement fails never harms its neighbours: the group is rolled back and replayed one by one. When a commit or the
//! connection fails, everybody in the transaction is told so, and the next one starts on a fresh connection. All writes
//! of a run pass through the same writer, in their order.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::fault::{Fault, pool_error};
use super::group::{self, Outcome, Work};
use super::queue::{Job, Queue};
use super::wake::Wake;
use crate::store::{StoreError, StoreResult};

/// Writers of one node: while one waits for its commit the other fills the next group.
pub(super) const WRITERS: usize = 2;

/// Whoever asks is told after this long that the database did not answer, whatever became of the work.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

/// A request that waited so long for its turn is not begun any more.
const TURN_WAIT_MAX: Duration = Duration::from_secs(5);

/// For one transaction, and for all replays of one group together.
const GROUP_TIMEOUT: Duration = Duration::from_secs(6);

/// For a rollback: beyond it the connection is given up.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(1);

/// The handle of the writers.
pub(super) struct Writers {
    queues: Vec<Arc<Queue>>,
}

impl Writers {
    /// Starts the tasks; they end when the queues are closed and empty.
    pub(super) fn start(
        runtime: &Handle,
        pool: &Pool,
        wake: &Arc<Wake>,
        queue_max: usize,
    ) -> (Self, Vec<JoinHandle<()>>) {
        let queues: Vec<Arc<Queue>> = (0..WRITERS).map(|_| Arc::new(Queue::new(queue_max / WRITERS))).collect();
        let tasks = queues.iter().map(|queue| {
            let writer = Writer { pool: pool.clone(), queue: Arc::clone(queue), wake: Arc::clone(wake), conn: None };
            runtime.spawn(supervise(writer))
        });
        let tasks = tasks.collect();
        (Self { queues }, tasks)
    }

    /// Queues `work`, and resolves when it is on disk or has failed. Dropping the future does not take it back.
    pub(super) async fn write(&self, runtime: &Handle, work: Work) -> StoreResult<Outcome> {
        let by_run = work.runs().next().map_or(0, |run| usize::from(run.bytes()[15]));
        let (waiter, answer) = oneshot::channel();
        let job = Job { work, waiter, deadline: Instant::now() + TURN_WAIT_MAX };
        self.queues[by_run % WRITERS].push(job)?;
        // The store's own runtime keeps the time: the caller's may have none.
        let answer = runtime.spawn(timeout(ANSWER_WAIT_MAX, answer)).await;
        match answer {
            Ok(Ok(Ok(answer))) => answer,
            Ok(Err(_)) => Err(StoreError::Unavailable(format!(
                "the database did not answer within {} s",
                ANSWER_WAIT_MAX.as_secs()
            ))),
            // The sender goes without an answer only when the writer panicked; its transaction was rolled back.
            Ok(Ok(Err(_))) | Err(_) => Err(StoreError::Unavailable("the request broke the writer".to_owned())),
        }
    }

    /// No more requests; what waits is still served.
    pub(super) fn close(&self) {
        self.queues.iter().for_each(|queue| queue.close());
    }
}

/// A panic ends one group, not the writer.
async fn supervise(writer: Writer) {
    let (pool, queue, wake) = (writer.pool.clone(), Arc::clone(&writer.queue), Arc::clone(&writer.wake));
    let mut task = tokio::spawn(writer.serve());
    while let Err(error) = task.await {
        if error.is_cancelled() {
            return;
        }
        tracing::error!("a panic in the store's writer; its transaction was rolled back");
        let again = Writer { pool: pool.clone(), queue: Arc::clone(&queue), wake: Arc::clone(&wake), conn: None };
        task = tokio::spawn(again.serve());
    }
}

/// One task's state.
struct Writer {
    pool: Pool,
    queue: Arc<Queue>,
    wake: Arc<Wake>,
    /// `None` after a fault that a fresh connection may heal.
    conn: Option<Object>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Writer {
    async fn serve(mut self) {
        while let Some(group) = self.queue.group().await {
            let now = Instant::now();
            let (group, late): (Vec<Job>, Vec<Job>) = group.into_iter().partition(|job| job.deadline > now);
            for job in late {
                job.answer(Err(StoreError::Unavailable("the database is too slow: too many wait for it".to_owned())));
            }
            if !group.is_empty() {
                self.group(group).await;
            }
        }
    }

    /// Commits the group and answers everybody in it.
    async fn group(&mut self, group: Vec<Job>) {
        let deadline = Instant::now() + GROUP_TIMEOUT;
        let works: Vec<&Work> = group.iter().map(|job| &job.work).collect();
        let mut done = self.transaction(&works).await;
        if let Err(Failed { is_deadlock: true, .. }) = done {
            done = self.transaction(&works).await;
        }
        let answers: Vec<StoreResult<Outcome>> = match done {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(failed) if failed.may_be_one && group.len() > 1 => {
                let mut answers = Vec::with_capacity(group.len());
                for work in works {
                    answers.push(self.alone(work, deadline).await);
                }
                answers
            }
            Err(failed) => vec![Err(failed.error); group.len()],
        };
        let leaves_work = group.iter().zip(&answers).any(|(job, answer)| answer.is_ok() && job.work.leaves_work());
        for (job, answer) in group.into_iter().zip(answers) {
            job.answer(answer);
        }
        if leaves_work {
            self.wake.tell();
        }
    }

    async fn alone(&mut self, work: &Work, deadline: Instant) -> StoreResult<Outcome> {
        if Instant::now() >= deadline {
            return Err(StoreError::Unavailable("the database is too slow".to_owned()));
        }
        let mut outcomes = self.transaction(&[work]).await.map_err(|failed| failed.error)?;
        outcomes.pop().ok_or_else(|| StoreError::Unavailable("the request broke the writer".to_owned()))
    }

    async fn transaction(&mut self, works: &[&Work]) -> Result<Vec<Outcome>, Failed> {
        let conn = self.connection().await.map_err(Failed::all)?;
        let fault = match timeout(GROUP_TIMEOUT, group::write(conn, works)).await {
            Ok(Ok(outcomes)) => return Ok(outcomes),
            Ok(Err(fault)) => fault,
            Err(_) => {
                self.give_up();
                return Err(Failed::all(StoreError::Unavailable("the database did not answer in time".to_owned())));
            }
        };
        let rolled_back = timeout(ROLLBACK_TIMEOUT, conn.batch_execute("ROLLBACK")).await;
        let failed = Failed::of(&fault);
        if !matches!(rolled_back, Ok(Ok(()))) || !failed.may_be_one {
            tracing::warn!(error = %failed.error, "the store connects again after a failed write");
            self.give_up();
        }
        Err(failed)
    }

    async fn connection(&mut self) -> StoreResult<&Object> {
        if self.conn.as_ref().is_some_and(|conn| conn.is_closed()) {
            self.give_up();
        }
        match &mut self.conn {
            Some(conn) => Ok(conn),
            empty => Ok(empty.insert(self.pool.get().await.map_err(|error| pool_error(&error))?)),
        }
    }

    /// Closes the connection, whatever is under way on it.
    fn give_up(&mut self) {
        if let Some(conn) = self.conn.take() {
            drop(Object::take(conn));
        }
    }
}

/// A transaction that did not happen, as far as is known.
struct Failed {
    error: StoreError,
    /// One of its requests may be to blame: the others may pass without it.
    may_be_one: bool,
    is_deadlock: bool,
}

impl Failed {
    fn all(error: StoreError) -> Self {
        Self { error, may_be_one: false, is_deadlock: false }
    }

    fn of(fault: &Fault) -> Self {
        let is_deadlock =
            matches!(fault, Fault::Sql(error) if error.code().is_some_and(|state| state.code().starts_with("40")));
        Self { error: fault.store_error(), may_be_one: fault.may_be_one_request(), is_deadlock }
    }
}
