-- From version 5 to version 6: what became of the messages of each hour, and a list of all.

ALTER TABLE progress RENAME TO progress_5;

-- All messages, for searches that have to look at each.
CREATE INDEX message_by_acceptance ON message (accepted_at);

-- What became of the messages that were accepted in each hour, in sums: changed together with the log, so
-- always that of now. What is removed stays counted.
CREATE TABLE hourly (
    hour              INTEGER NOT NULL,  -- since 1970 UTC
    channel           INTEGER NOT NULL,
    kind              INTEGER NOT NULL,  -- a status: messages that have it now; 6: messages that were
                                         -- delivered, also if they were read later
    detail            TEXT    NOT NULL,  -- of REJECTED and UNDELIVERED the provider's code, unless a
                                         -- number could be in it; of 6 the class of the time that
                                         -- it took, see src/store/sums.rs
    messages          INTEGER NOT NULL,
    PRIMARY KEY (hour, channel, kind, detail)
) STRICT, WITHOUT ROWID;

-- One row: where the writer is.
CREATE TABLE progress (
    one               INTEGER PRIMARY KEY CHECK (one = 1),
    folded            INTEGER NOT NULL,  -- up to here all of `notification` is in `message`
    last_seq          INTEGER NOT NULL,  -- the greatest seq and n of what was removed: none is
    last_n            INTEGER NOT NULL,  -- used twice
    without_number    INTEGER NOT NULL,  -- how many records in `message` have no destination
    hash_key          BLOB    NOT NULL,  -- the key of the hashes in `erased`
    summed            INTEGER NOT NULL   -- 0: `hourly` has to be made of all there is
) STRICT;

-- The sums are made at the next start, because part of the records may be in the log alone.
INSERT INTO progress (one, folded, last_seq, last_n, without_number, hash_key, summed)
SELECT one, folded, last_seq, last_n, without_number, hash_key, 0 FROM progress_5;

DROP TABLE progress_5;
