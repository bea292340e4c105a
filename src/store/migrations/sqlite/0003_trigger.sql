-- The keys of leads within their window. The unique key decides who came first, in the transaction that stores the run.
CREATE TABLE dedupe (
    flow       TEXT NOT NULL,
    key_hash   BLOB NOT NULL CHECK (length(key_hash) = 32),
    run_id     BLOB NOT NULL CHECK (length(run_id) = 16),
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (flow, key_hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX dedupe_expires ON dedupe (expires_at);

-- Of a run whose flow bounds its runs: 0 waits at the gate, 1 is inside, from its first claim to its end.
ALTER TABLE runs ADD COLUMN gate INTEGER CHECK (gate IN (0, 1));

-- How many unfinished runs of a flow are inside its gate and before it. Kept by triggers on the runs themselves, so that
-- no crash can lose or leak a slot and nobody has to count.
CREATE TABLE gates (
    flow    TEXT NOT NULL PRIMARY KEY,
    running INTEGER NOT NULL,
    waiting INTEGER NOT NULL,
    -- How many may be inside, as the last run was told that had to wait: for a flow that is not loaded any more.
    inside_max INTEGER
) STRICT, WITHOUT ROWID;
CREATE TRIGGER gate_reached AFTER INSERT ON runs WHEN new.gate IS NOT NULL AND new.finished_at IS NULL BEGIN
    INSERT INTO gates (flow, running, waiting) VALUES (new.flow, new.gate, 1 - new.gate)
    ON CONFLICT (flow) DO UPDATE SET running = running + excluded.running, waiting = waiting + excluded.waiting;
END;
CREATE TRIGGER gate_passed AFTER UPDATE OF gate ON runs
WHEN old.finished_at IS NULL AND new.finished_at IS NULL AND old.gate = 0 AND new.gate = 1 BEGIN
    UPDATE gates SET running = running + 1, waiting = waiting - 1 WHERE flow = old.flow;
END;
CREATE TRIGGER gate_left AFTER UPDATE OF finished_at ON runs
WHEN old.gate IS NOT NULL AND old.finished_at IS NULL AND new.finished_at IS NOT NULL BEGIN
    UPDATE gates SET running = running - old.gate, waiting = waiting - (1 - old.gate) WHERE flow = old.flow;
END;
CREATE TRIGGER gate_removed AFTER DELETE ON runs WHEN old.gate IS NOT NULL AND old.finished_at IS NULL BEGIN
    UPDATE gates SET running = running - old.gate, waiting = waiting - (1 - old.gate) WHERE flow = old.flow;
END;
