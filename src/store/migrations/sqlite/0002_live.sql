-- What is live, file by file: the last version of each flow file that was good. A restart that finds the file broken
-- serves this one. A file whose last good version says `enabled: false` has its row too: off is what it means to be.
CREATE TABLE live (
    file       TEXT NOT NULL PRIMARY KEY,
    flow       TEXT NOT NULL,
    text_id    INTEGER NOT NULL,
    generation INTEGER NOT NULL CHECK (generation >= 0),
    loaded_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX live_text ON live (text_id);
