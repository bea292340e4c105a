-- What is known of a connection under given settings: throttled, down, held, or well.
CREATE TABLE connection_state (
    connection      TEXT NOT NULL,
    settings_digest TEXT NOT NULL,
    seq             INTEGER NOT NULL,
    seen_at         INTEGER NOT NULL,
    paused_until    INTEGER NOT NULL,
    pauses          INTEGER NOT NULL,
    breaker         TEXT NOT NULL CHECK (breaker IN ('closed', 'open', 'held')),
    failures        INTEGER NOT NULL,
    held_code       TEXT,
    blocked_since   INTEGER,
    probes          INTEGER NOT NULL,
    next_probe_at   INTEGER,
    last_ok_at      INTEGER,
    last_error_at   INTEGER,
    last_error      TEXT,
    throttled_times INTEGER NOT NULL,
    opened_times    INTEGER NOT NULL,
    held_times      INTEGER NOT NULL,
    PRIMARY KEY (connection, settings_digest),
    CHECK ((breaker = 'closed') = (blocked_since IS NULL))
) STRICT, WITHOUT ROWID;
