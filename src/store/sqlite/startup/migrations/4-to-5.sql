-- From version 4 to version 5: what can be counted and found without looking at every record.

ALTER TABLE progress RENAME TO progress_4;

-- The messages of which the end is not known yet, in the order of their acceptance.
CREATE INDEX message_unfinished ON message (accepted_at) WHERE status IN (0, 1);

-- One row: where the writer is.
CREATE TABLE progress (
    one               INTEGER PRIMARY KEY CHECK (one = 1),
    folded            INTEGER NOT NULL,  -- up to here all of `notification` is in `message`
    last_seq          INTEGER NOT NULL,  -- the greatest seq and n of what was removed: none is
    last_n            INTEGER NOT NULL,  -- used twice
    without_number    INTEGER NOT NULL,  -- how many records in `message` have no destination
    hash_key          BLOB    NOT NULL   -- the key of the hashes in `erased`
) STRICT;

INSERT INTO progress (one, folded, last_seq, last_n, without_number, hash_key)
SELECT one, folded, last_seq, last_n,
    (SELECT count(*) FROM message WHERE status IS NOT NULL AND destination IS NULL),
    hash_key
FROM progress_4;

DROP TABLE progress_4;
