//! What is known of a connection: throttled, silent, refused, or well; and how one more word changes it.
//!
//! Promise: nodes that tell of the same connection at the same time never undo each other. A store applies
//! [`ConnectionState::note`] to the row inside one transaction that holds it, so pauses only grow, failures are counted
//! once each, and only what was tried after a hold began can end it. Pure; the waits are named here because they
//! are part of that rule.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Micros, micros};

/// The shortest pause that a throttle brings, whatever the other side says.
pub const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest one.
pub const PAUSE_MAX: Duration = Duration::from_hours(24);
/// The longest pause when the other side does not say how long: it begins at [`PAUSE_MIN`] and doubles.
pub const PAUSE_UNSAID_MAX: Duration = Duration::from_mins(5);
/// Failures in a row from which on a connection counts as down.
pub const FAILURES_TO_OPEN: u32 = 5;
/// The wait before the first probe of a connection that is down; it doubles up to [`DOWN_PROBE_MAX`].
pub const DOWN_PROBE_MIN: Duration = Duration::from_secs(1);
/// The longest wait between two such probes.
pub const DOWN_PROBE_MAX: Duration = Duration::from_mins(1);
/// The wait before the first probe of a connection whose credentials are refused; it doubles up to [`HELD_PROBE_MAX`].
pub const HELD_PROBE_MIN: Duration = Duration::from_secs(30);
/// The longest wait between two such probes.
pub const HELD_PROBE_MAX: Duration = Duration::from_mins(5);
/// How long a probe keeps others from probing when its node dies during it.
pub const PROBE_LEASE: Duration = Duration::from_mins(3);
/// How long the state under other settings is kept: nodes may have the older ones for a while.
pub const OTHER_SETTINGS_KEPT: Duration = Duration::from_hours(168);

/// Why a connection lets nobody through but probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// It does not answer: the circuit breaker is open.
    Open,
    /// It refuses the credentials.
    Held,
}

impl BlockKind {
    /// As stored and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Held => "held",
        }
    }

    fn wait(self, probes: u32) -> Duration {
        match self {
            Self::Open => doubled(DOWN_PROBE_MIN, probes, DOWN_PROBE_MAX),
            Self::Held => doubled(HELD_PROBE_MIN, probes, HELD_PROBE_MAX),
        }
    }
}

/// `first · 2^times`, at most `most`.
fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    first.checked_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).map_or(most, |wait| wait.min(most))
}

/// A connection that lets nobody through but probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Why.
    pub kind: BlockKind,
    /// The code of the failure that began it.
    pub code: String,
    /// Since when.
    pub since: Micros,
    /// Probes that failed since.
    pub probes: u32,
    /// From when on one more try may find out.
    pub next_probe_at: Micros,
}

/// What the other side, or the way to it, said last when something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The failure's code.
    pub code: String,
    /// One line without lead data.
    pub message: String,
}

/// One row of `connection_state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionState {
    /// The connection's name.
    pub connection: String,
    /// What tells its settings from others: new settings begin anew.
    pub settings_digest: String,
    /// Grows with every change of the row.
    pub seq: i64,
    /// When a node last opened it with these settings.
    pub seen_at: Micros,
    /// Nobody calls it before; 0: never paused.
    pub paused_until: Micros,
    /// Pauses in a row, without a success between them.
    pub pauses: u32,
    /// Failures in a row that say that it is down.
    pub failures: u32,
    /// Why nobody but probes is let through.
    pub block: Option<Block>,
    /// The last success.
    pub last_ok_at: Option<Micros>,
    /// The last failure, and when.
    pub last_error: Option<(Micros, Said)>,
    /// How often it was throttled, went down and was held, in all.
    pub times: Times,
}

/// How often something happened to a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// A pause began.
    pub throttled: u64,
    /// The breaker opened.
    pub opened: u64,
    /// The credentials were refused.
    pub held: u64,
}

/// How a connection stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition<'a> {
    /// Everybody is let through.
    Well,
    /// Nobody before that time.
    Throttled(Micros),
    /// Only probes.
    Blocked(&'a Block),
}

/// Something learned of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionNote {
    /// The connection's name.
    pub connection: String,
    /// Its settings.
    pub settings_digest: String,
    /// When.
    pub at: Micros,
    /// What.
    pub word: Word,
}

/// What was learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A node has opened it with these settings.
    Seen,
    /// A try that began then has worked.
    Worked {
        /// When the try began.
        began_at: Micros,
    },
    /// The other side answered that this one request never works: it is there.
    Refused(Said),
    /// The other side asks everybody to wait.
    Throttled {
        /// What it said.
        said: Said,
        /// How long, in microseconds, if it says so.
        wait: Option<Micros>,
    },
    /// It does not answer, or is broken.
    Down {
        /// What failed.
        said: Said,
        /// Whether the try was a probe.
        probe: bool,
    },
    /// It refuses the credentials.
    Credentials {
        /// What it said.
        said: Said,
        /// Whether the try was a probe.
        probe: bool,
    },
    /// A probe was let through and nothing was tried: the next one may follow at once.
    Unprobed,
}

/// What a note changed, for whoever tells people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing that people have to hear of.
    None,
    /// A pause began.
    Throttled,
    /// The breaker opened.
    Opened,
    /// The credentials are refused from now on.
    Held,
    /// What blocked it is over.
    Healed,
}

/// A row after a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The row.
    pub state: ConnectionState,
    /// What the note changed.
    pub turn: Turn,
}

impl ConnectionState {
    /// A connection of which nothing is known.
    pub fn new(connection: &str, settings_digest: &str) -> Self {
        Self {
            connection: connection.to_owned(),
            settings_digest: settings_digest.to_owned(),
            seq: 0,
            seen_at: 0,
            paused_until: 0,
            pauses: 0,
            failures: 0,
            block: None,
            last_ok_at: None,
            last_error: None,
            times: Times::default(),
        }
    }

    /// How it stands at `now`.
    pub fn condition(&self, now: Micros) -> Condition<'_> {
        match &self.block {
            Some(block) => Condition::Blocked(block),
            None if now < self.paused_until => Condition::Throttled(self.paused_until),
            None => Condition::Well,
        }
    }

    /// Whether a success changes more than the time of the last one.
    pub fn is_troubled(&self) -> bool {
        self.block.is_some() || self.failures > 0 || self.pauses > 0
    }

    /// Applies one note; what it changed.
    pub fn note(&mut self, at: Micros, word: &Word) -> Turn {
        self.seq += 1;
        if let Word::Refused(said)
        | Word::Throttled { said, .. }
        | Word::Down { said, .. }
        | Word::Credentials { said, .. } = word
            && self.last_error.as_ref().is_none_or(|(last, _)| *last <= at)
        {
            self.last_error = Some((at, said.clone()));
        }
        match word {
            Word::Seen => {
                self.seen_at = self.seen_at.max(at);
                Turn::None
            }
            Word::Worked { began_at } => self.worked(at, *began_at),
            Word::Refused(_) => self.answers(),
            Word::Throttled { wait, .. } => self.throttled(at, *wait),
            Word::Down { said, probe } => self.down(at, said, *probe),
            Word::Credentials { said, probe } => self.credentials(at, said, *probe),
            Word::Unprobed => {
                if let Some(block) = &mut self.block {
                    block.next_probe_at = block.next_probe_at.min(at);
                }
                Turn::None
            }
        }
    }

    fn worked(&mut self, at: Micros, began_at: Micros) -> Turn {
        self.last_ok_at = Some(self.last_ok_at.map_or(at, |last| last.max(at)));
        if began_at >= self.paused_until {
            self.pauses = 0;
        }
        // What was under way when the block began says nothing about what follows.
        if self.block.as_ref().is_some_and(|block| began_at < block.since) {
            return Turn::None;
        }
        self.failures = 0;
        if self.block.take().is_some() { Turn::Healed } else { Turn::None }
    }

    /// It is there, whatever it says.
    fn answers(&mut self) -> Turn {
        self.failures = 0;
        let is_open = self.block.as_ref().is_some_and(|block| block.kind == BlockKind::Open);
        if is_open {
            self.block = None;
            return Turn::Healed;
        }
        Turn::None
    }

    fn throttled(&mut self, at: Micros, wait: Option<Micros>) -> Turn {
        let healed = self.answers();
        // Many tries that were under way together are throttled together: that is one pause.
        let begins = at >= self.paused_until;
        let unsaid = micros(doubled(PAUSE_MIN, self.pauses, PAUSE_UNSAID_MAX));
        if begins {
            self.pauses = self.pauses.saturating_add(1);
            self.times.throttled += 1;
        }
        let wait = match wait {
            Some(said) => said.clamp(micros(PAUSE_MIN), micros(PAUSE_MAX)),
            None if begins => unsaid,
            None => micros(PAUSE_MIN),
        };
        self.paused_until = self.paused_until.max(at.saturating_add(wait));
        if begins { Turn::Throttled } else { healed }
    }

    fn down(&mut self, at: Micros, said: &Said, probe: bool) -> Turn {
        self.failures = self.failures.saturating_add(1);
        match &mut self.block {
            Some(block) => {
                block.failed(at, probe);
                Turn::None
            }
            None if self.failures < FAILURES_TO_OPEN => Turn::None,
            None => {
                self.times.opened += 1;
                self.block = Some(Block::begun(BlockKind::Open, at, said));
                Turn::Opened
            }
        }
    }

    fn credentials(&mut self, at: Micros, said: &Said, probe: bool) -> Turn {
        self.failures = 0;
        match &mut self.block {
            Some(block) if block.kind == BlockKind::Held => {
                block.failed(at, probe);
                Turn::None
            }
            _ => {
                self.times.held += 1;
                self.block = Some(Block::begun(BlockKind::Held, at, said));
                Turn::Held
            }
        }
    }
}

impl Block {
    fn begun(kind: BlockKind, at: Micros, said: &Said) -> Self {
        let next_probe_at = at.saturating_add(micros(kind.wait(0)));
        Self { kind, code: said.code.clone(), since: at, probes: 0, next_probe_at }
    }

    /// A try failed once more. Only a probe moves the next one: others were under way when the block began.
    fn failed(&mut self, at: Micros, probe: bool) {
        if probe {
            self.probes = self.probes.saturating_add(1);
            self.next_probe_at = at.saturating_add(micros(self.kind.wait(self.probes)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MICROS_PER_SEC;

    const SEC: Micros = MICROS_PER_SEC;

    fn said(code: &str) -> Said {
        Said { code: code.into(), message: "m".into() }
    }

    fn down(probe: bool) -> Word {
        Word::Down { said: said("http_503"), probe }
    }

    fn fresh() -> ConnectionState {
        ConnectionState::new("crm", "d")
    }

    #[test]
    fn a_pause_is_clamped_only_grows_and_is_one_for_all_who_meet_it() {
        let throttled = |wait| Word::Throttled { said: said("http_429"), wait };
        let mut state = fresh();
        assert_eq!(state.note(10 * SEC, &throttled(Some(3 * SEC))), Turn::Throttled);
        assert_eq!(state.paused_until, 13 * SEC);
        assert_eq!(state.note(11 * SEC, &throttled(Some(-5))), Turn::None);
        assert_eq!(state.paused_until, 13 * SEC, "a shorter one does not cut it");
        state.note(12 * SEC, &throttled(Some(i64::MAX)));
        assert_eq!(state.paused_until, 12 * SEC + micros(PAUSE_MAX));
        assert_eq!((state.pauses, state.times.throttled), (1, 1));
        assert_eq!(state.condition(12 * SEC), Condition::Throttled(state.paused_until));
        assert_eq!(state.condition(state.paused_until), Condition::Well);
    }

    #[test]
    fn an_unsaid_pause_doubles_until_something_works() {
        let mut state = fresh();
        let mut at = SEC;
        let mut waits = Vec::new();
        for _ in 0..12 {
            state.note(at, &Word::Throttled { said: said("http_429"), wait: None });
            waits.push((state.paused_until - at) / SEC);
            at = state.paused_until;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        state.note(at, &Word::Worked { began_at: at - 1 });
        assert_eq!(state.pauses, 12, "it began within the pause");
        state.note(at, &Word::Worked { began_at: at });
        state.note(at + 1, &Word::Throttled { said: said("http_429"), wait: None });
        assert_eq!(state.paused_until, at + 1 + SEC);
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_a_probe_that_works_closes_it() {
        let mut state = fresh();
        for at in 1..5 {
            assert_eq!(state.note(at * SEC, &down(false)), Turn::None);
        }
        state.note(5 * SEC, &Word::Refused(said("http_400")));
        for at in 6..10 {
            assert_eq!(state.note(at * SEC, &down(false)), Turn::None, "it had answered");
        }
        assert_eq!(state.note(10 * SEC, &down(false)), Turn::Opened);
        let next = |state: &ConnectionState| state.block.as_ref().expect("open").next_probe_at / SEC;
        assert_eq!(next(&state), 11);
        state.note(11 * SEC, &down(false));
        assert_eq!(next(&state), 11, "it was under way");
        let mut waits = Vec::new();
        for _ in 0..8 {
            state.note(20 * SEC, &down(true));
            waits.push(next(&state) - 20);
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(state.note(30 * SEC, &Word::Worked { began_at: 9 * SEC }), Turn::None, "begun before");
        assert_eq!(state.note(31 * SEC, &Word::Worked { began_at: 21 * SEC }), Turn::Healed);
        assert_eq!((state.failures, state.block.is_none(), state.times.opened), (0, true, 1));
    }

    #[test]
    fn refused_credentials_are_told_once_and_only_a_success_ends_it() {
        let refused = |probe| Word::Credentials { said: said("http_401"), probe };
        let mut state = fresh();
        assert_eq!(state.note(SEC, &refused(false)), Turn::Held);
        assert_eq!(state.note(SEC, &refused(false)), Turn::None);
        assert_eq!(state.note(2 * SEC, &Word::Refused(said("http_403"))), Turn::None);
        let mut waits = Vec::new();
        for _ in 0..5 {
            state.note(0, &refused(true));
            waits.push(state.block.as_ref().expect("held").next_probe_at / SEC);
        }
        assert_eq!(waits, [60, 120, 240, 300, 300]);
        state.note(3 * SEC, &Word::Unprobed);
        assert_eq!(state.block.as_ref().expect("held").next_probe_at, 3 * SEC);
        assert_eq!(state.note(4 * SEC, &Word::Worked { began_at: 3 * SEC }), Turn::Healed);
        assert_eq!(state.times, Times { throttled: 0, opened: 0, held: 1 });
    }
}
