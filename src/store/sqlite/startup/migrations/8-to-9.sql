-- From version 8 to version 9: the index by id, destination and reference key is in sorted runs. The next migration
-- fills it.

CREATE TABLE index_run (
    run               INTEGER PRIMARY KEY CHECK (run > 0),
    filter            BLOB    NOT NULL   -- keys that the run may have; see src/store/sqlite/index/filter.rs
) STRICT;

DROP INDEX message_by_destination;
DROP INDEX message_by_reference;
DROP INDEX message_by_acceptance;
DROP INDEX message_unfinished;
ALTER TABLE message RENAME TO message_8;
ALTER TABLE progress RENAME TO progress_8;

CREATE TABLE message (
    n                 INTEGER PRIMARY KEY,
    id                BLOB    NOT NULL CHECK (length(id) = 16),
    last              INTEGER NOT NULL,  -- last notification; each names the previous one
    notifications     INTEGER NOT NULL,  -- number of notifications that are shown
    status            INTEGER,           -- NULL: no valid notification, so there is no record
    status_arrived_at INTEGER,           -- earliest arrival among those of this status
    began_accepted    INTEGER,           -- earliest acceptance time stated
    began_stated      INTEGER,           -- earliest status time stated
    began_arrived     INTEGER,           -- earliest arrival
    accepted_at       INTEGER GENERATED ALWAYS AS
                      (coalesce(began_accepted, began_stated, began_arrived)) VIRTUAL,
    channel           INTEGER,
    destination       INTEGER,
    reference_key     TEXT,
    provider_code     TEXT,
    texts             TEXT,              -- reference service and action, provider name, id, status and
                                         -- message: each as its length in bytes, a colon and the
                                         -- text, or a dash if it is missing
    segments          INTEGER,
    ranks             BLOB,              -- ranks of the claims to status, destination, reference and
                                         -- segments; see src/store/sqlite/rows/claim_ranks.rs
    list_order        INTEGER            -- position in lists: newest acceptance first, ties by the
                                         -- beginning of the id; see src/store/sqlite/rows/list_order.rs
) STRICT;

INSERT INTO message (n, id, last, notifications, status, status_arrived_at, began_accepted, began_stated,
    began_arrived, channel, destination, reference_key, provider_code, texts, segments, ranks, list_order)
SELECT n, id, last, notifications, status, status_arrived_at, began_accepted, began_stated,
    began_arrived, channel, destination, reference_key, provider_code, texts, segments, ranks, list_order
FROM message_8 ORDER BY n;
DROP TABLE message_8;

CREATE INDEX message_by_acceptance ON message (list_order);
CREATE INDEX message_unfinished ON message (accepted_at) WHERE status IN (0, 1);

-- Progress of the writer, in one row.
CREATE TABLE progress (
    one               INTEGER PRIMARY KEY CHECK (one = 1),
    folded            INTEGER NOT NULL,  -- seq up to which `notification` is written back to `message`
    last_seq          INTEGER NOT NULL,  -- greatest removed seq and n: no number is
    last_n            INTEGER NOT NULL,  -- used twice
    without_number    INTEGER NOT NULL,  -- number of records in `message` without a destination
    hash_key          BLOB    NOT NULL,  -- key of the hashes in `erased`
    summed            INTEGER NOT NULL,  -- 0: `hourly` must be rebuilt from all messages
    prune_cutoff      INTEGER,           -- arrivals before it were purged; NULL: no prune ran yet
    lineage           INTEGER NOT NULL,  -- 0, and a greater number after each restore, so that event ids and
                                         -- cursors of the lost file are recognised; below 2^13
    erased_cutoff     INTEGER,           -- tombstones that end before it are removed
    pruned_at         INTEGER,           -- time of the last daily purge; NULL: none ran yet
    indexed_n         INTEGER NOT NULL,  -- rows of `message` up to this n are in `message_index`
    index_secret      BLOB    NOT NULL   -- secret of the hashes in `index_run`
) STRICT;

INSERT INTO progress (one, folded, last_seq, last_n, without_number, hash_key, summed, prune_cutoff, lineage,
    erased_cutoff, pruned_at, indexed_n, index_secret)
SELECT one, folded, last_seq, last_n, without_number, hash_key, summed, prune_cutoff, lineage,
    erased_cutoff, pruned_at, max(last_n, (SELECT coalesce(max(n), 0) FROM message)), randomblob(32)
FROM progress_8;
DROP TABLE progress_8;
