-- Runs that call runs.

-- How many calls stand above the run; 0: a request brought it.
ALTER TABLE runs ADD COLUMN depth INTEGER NOT NULL DEFAULT 0 CHECK (depth >= 0);
CREATE INDEX runs_parent ON runs (parent_run) WHERE parent_run IS NOT NULL;
