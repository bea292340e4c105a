-- Times are microseconds UTC. Run ids are the 16 bytes of a UUIDv7, so that key order is time order and a key costs
-- 16 bytes instead of 36 in each of the trees that hold it; `lower(hex(run_id))` prints one in the sqlite3 shell.
-- A text column that may hold a large value holds JSON, or `@` and the number of a row of `payloads`: no JSON begins
-- with `@`.

CREATE TABLE flow_texts (
    text_id   INTEGER PRIMARY KEY AUTOINCREMENT,
    digest    TEXT NOT NULL UNIQUE,
    flow      TEXT NOT NULL,
    bundle    TEXT NOT NULL,
    pinned_at INTEGER NOT NULL
) STRICT;
CREATE INDEX flow_texts_flow ON flow_texts (flow, pinned_at);

-- No foreign key to flow_texts: a text that is missing by some mistake must never refuse a lead.
CREATE TABLE runs (
    run_id       BLOB NOT NULL PRIMARY KEY CHECK (length(run_id) = 16),
    flow         TEXT NOT NULL,
    text_id      INTEGER NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('queued', 'running', 'waiting', 'held', 'succeeded', 'failed',
                                                 'timed_out', 'cancelled', 'skipped', 'duplicate')),
    code         TEXT,
    is_test      INTEGER NOT NULL CHECK (is_test IN (0, 1)),
    received_at  INTEGER NOT NULL,
    finished_at  INTEGER,
    lane         TEXT NOT NULL,
    due_at       INTEGER NOT NULL,
    owner        TEXT,
    epoch        INTEGER NOT NULL CHECK (epoch >= 0),
    strikes      INTEGER NOT NULL CHECK (strikes >= 0),
    inflight     TEXT NOT NULL,
    cancel       INTEGER NOT NULL CHECK (cancel IN (0, 1)),
    duplicate_of BLOB,
    origin_run   BLOB,
    key_run      BLOB NOT NULL,
    parent_run   BLOB,
    parent_step  TEXT,
    answer       TEXT,
    "trigger"    TEXT NOT NULL,
    CHECK ((finished_at IS NULL) = (status IN ('queued', 'running', 'waiting', 'held'))),
    CHECK (finished_at IS NULL OR owner IS NULL),
    CHECK (finished_at IS NULL OR inflight = '[]')
) STRICT;
-- What may be claimed; the rowid at the end of each entry keeps runs that are due at the same moment in their order.
CREATE INDEX runs_due ON runs (lane, due_at) WHERE finished_at IS NULL AND owner IS NULL AND status <> 'held';
CREATE INDEX runs_owned ON runs (owner, cancel) WHERE owner IS NOT NULL;
-- Runs that were rescued again and again without progress: claimed one at a time.
CREATE INDEX runs_suspect ON runs (lane, due_at)
  WHERE finished_at IS NULL AND owner IS NULL AND status <> 'held' AND strikes >= 3;
CREATE INDEX runs_suspect_owned ON runs (owner)
  WHERE owner IS NOT NULL AND finished_at IS NULL AND strikes >= 3;
CREATE INDEX runs_flow ON runs (flow, status, run_id);
CREATE INDEX runs_status ON runs (status, run_id);
CREATE INDEX runs_ended ON runs (status, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX runs_text ON runs (text_id);

CREATE TABLE steps (
    run_id      BLOB NOT NULL REFERENCES runs ON DELETE CASCADE,
    idx         TEXT NOT NULL,
    name        TEXT NOT NULL,
    status      TEXT NOT NULL CHECK (status IN ('pending', 'running', 'waiting', 'succeeded', 'failed', 'skipped',
                                                'timed_out', 'cancelled')),
    attempt     INTEGER NOT NULL CHECK (attempt >= 0),
    due_at      INTEGER,
    started_at  INTEGER,
    finished_at INTEGER,
    outcome     TEXT,
    flags       INTEGER NOT NULL,
    io          TEXT NOT NULL,
    PRIMARY KEY (run_id, idx, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE payloads (
    run_id BLOB NOT NULL REFERENCES runs ON DELETE CASCADE,
    n      INTEGER NOT NULL,
    bytes  BLOB NOT NULL,
    PRIMARY KEY (run_id, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE rejected (
    id             BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    flow           TEXT NOT NULL,
    received_at    INTEGER NOT NULL,
    code           TEXT NOT NULL,
    findings       TEXT NOT NULL,
    method         TEXT NOT NULL,
    path           TEXT NOT NULL,
    query          TEXT NOT NULL,
    headers        TEXT NOT NULL,
    resubmitted_as BLOB,
    body           BLOB NOT NULL
) STRICT;
CREATE INDEX rejected_flow ON rejected (flow, id);
CREATE INDEX rejected_received ON rejected (received_at);

-- What the inbox of a flow holds, kept by triggers so that enforcing its caps never counts the inbox.
CREATE TABLE rejected_totals (
    flow     TEXT NOT NULL PRIMARY KEY,
    requests INTEGER NOT NULL,
    bytes    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER rejected_added AFTER INSERT ON rejected BEGIN
    INSERT INTO rejected_totals VALUES (new.flow, 1, length(new.body))
    ON CONFLICT (flow) DO UPDATE SET requests = requests + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER rejected_removed AFTER DELETE ON rejected BEGIN
    UPDATE rejected_totals SET requests = requests - 1, bytes = bytes - length(old.body) WHERE flow = old.flow;
END;

CREATE TABLE nodes (
    node_id     TEXT NOT NULL PRIMARY KEY,
    name        TEXT NOT NULL,
    started_at  INTEGER NOT NULL,
    lease_until INTEGER,
    version     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    flow         TEXT NOT NULL,
    slot         TEXT NOT NULL,
    version      INTEGER NOT NULL CHECK (version >= 1),
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    PRIMARY KEY (flow, slot)
) STRICT, WITHOUT ROWID;

-- The rowid is the order of creation: newest first is a walk from the end.
CREATE TABLE records (
    connection TEXT NOT NULL,
    entity     TEXT NOT NULL,
    id         TEXT NOT NULL,
    fields     TEXT NOT NULL,
    run_id     BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (connection, entity, id)
) STRICT;
CREATE INDEX records_entity ON records (entity);

CREATE TABLE meta (
    k TEXT NOT NULL PRIMARY KEY,
    v TEXT NOT NULL
) STRICT, WITHOUT ROWID;
