-- Tables of statusmirror's SQLite file. Executed when the file is created; schema version 10.
--
-- Times are microseconds since 1970 UTC. Statuses are numbered in their order of precedence:
-- 0 PROVIDER_ACCEPTANCE, 1 SENT, 2 REJECTED, 3 UNDELIVERED, 4 DELIVERED, 5 READ.
-- Channels: 0 SMS, 1 RCS. Outcomes: 0 duplicate, 1 invalid, 2 conflict, 3 applied, 4 superseded.

-- Notification log: everything received, in order of arrival. Rows are only added. All other tables about
-- messages follow from it. A number (seq) is never used twice, and every change of a record has one, so a
-- reader of the log can continue after any number.
CREATE TABLE notification (
    seq               INTEGER PRIMARY KEY,
    message           BLOB    NOT NULL CHECK (length(message) = 16),
    previous          INTEGER,           -- the message's previous notification
    identity          BLOB    NOT NULL CHECK (length(identity) = 16),
    kind              INTEGER NOT NULL,  -- 0: report; 1: report that names the message by
                                         -- provider_id; 2: registration; 3: repeated registration,
                                         -- which ranks as the latest and is not shown
    changed_from      INTEGER,           -- status before, if it changed the record; -1: there was
                                         -- no record
    received_at       INTEGER NOT NULL,
    ordered_at        INTEGER,           -- order among registrations, if it differs from
                                         -- received_at: just after the registration before it
    source            TEXT    NOT NULL,  -- name of the source, or `api:` and the name of the key
    outcome           INTEGER NOT NULL,  -- outcome at arrival
    status            INTEGER NOT NULL,
    stated_at         INTEGER,
    accepted_at       INTEGER,
    channel           INTEGER NOT NULL,
    destination       INTEGER,           -- digits of the E.164 number, without the plus
    reference_service TEXT,
    reference_action  TEXT,
    reference_key     TEXT,
    provider_name     TEXT    NOT NULL,
    provider_id       TEXT    NOT NULL,
    provider_status   TEXT    NOT NULL,
    provider_code     TEXT    NOT NULL,
    provider_message  TEXT,
    segments          INTEGER
) STRICT;

-- Record of each message: the join of its notifications, and the data needed to join further ones. The table
-- may lag behind the notification log, from the position in `progress` on. The cache holds the newer records,
-- and a start rebuilds them from the log.
-- Keyed by a small integer, so that recent rows share hot pages although message ids are random.
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

-- All messages by acceptance, for searches.
CREATE INDEX message_by_acceptance ON message (list_order);
-- Messages without a final status, by acceptance.
CREATE INDEX message_unfinished ON message (accepted_at) WHERE status IN (0, 1);

-- Index of the messages by id, destination and reference key, in sorted runs. Run 0 is the base, which has the
-- entries of most messages; the others are small and were written lately. See src/store/sqlite/index/mod.rs.
-- The entries of a run are in blocks, in their order.
CREATE TABLE index_block (
    b                 INTEGER PRIMARY KEY,
    entries           BLOB    NOT NULL CHECK (length(entries) = 4000) -- 160 entries of 25 bytes; see
                                         -- src/store/sqlite/index/entry.rs
) STRICT;

-- Where the blocks of each run begin. A block has all entries of its run from its start to that of the next one.
CREATE TABLE index_block_start (
    run               INTEGER NOT NULL,
    start             BLOB    NOT NULL CHECK (length(start) = 25), -- an entry; zeros for the first block
    b                 INTEGER NOT NULL,
    PRIMARY KEY (run, start)
) STRICT, WITHOUT ROWID;

-- Runs of the index, except the base. A run without a row here does not count: it belongs to a batch that is still
-- being written, as the rows of `message` beyond `progress.indexed_n` do, or it was merged. A start removes both.
CREATE TABLE index_run (
    run               INTEGER PRIMARY KEY CHECK (run > 0),
    filter            BLOB    NOT NULL   -- keys that the run may have; see src/store/sqlite/index/filter.rs
) STRICT;

-- Messages by the provider's own id; filled only by dialects whose providers have ids of their own.
CREATE TABLE foreign_id (
    source            TEXT    NOT NULL,
    id                TEXT    NOT NULL,
    n                 INTEGER NOT NULL,
    PRIMARY KEY (source, id, n)
) STRICT, WITHOUT ROWID;

-- Raw payloads of quarantined entries. Each payload is stored once, however many of its entries are
-- quarantined, and is deleted with the last of them.
CREATE TABLE raw_payload (
    p                 INTEGER PRIMARY KEY,
    hash              BLOB    NOT NULL UNIQUE CHECK (length(hash) = 16), -- of the source and all columns below
    method            TEXT    NOT NULL,
    query             TEXT    NOT NULL,  -- without token and signature
    content_type      TEXT,
    bytes             BLOB    NOT NULL   -- the body; last, so that the others are read without it
) STRICT;

-- Authentic webhooks that could not be interpreted, one row per entry.
CREATE TABLE quarantine (
    q                 INTEGER PRIMARY KEY AUTOINCREMENT,
    id                BLOB    NOT NULL UNIQUE CHECK (length(id) = 16), -- hash of source, payload, entry
    source            TEXT    NOT NULL,
    entry             INTEGER NOT NULL,  -- index of the entry in the delivery, from 0
    payload           INTEGER NOT NULL REFERENCES raw_payload (p),
    url_covered       INTEGER,           -- whether verification covered the URL: 1 or 0; NULL: unknown,
                                         -- because version 6 or earlier received it
    reason            TEXT    NOT NULL,
    received_at       INTEGER NOT NULL,  -- first arrival
    times             INTEGER NOT NULL   -- number of arrivals
) STRICT;
CREATE INDEX quarantine_by_payload ON quarantine (payload);

-- Quarantine usage of each source. Changed in the same transactions as the quarantine.
CREATE TABLE quarantine_usage (
    source            TEXT    NOT NULL PRIMARY KEY,
    entries           INTEGER NOT NULL,
    bytes             INTEGER NOT NULL   -- of raw payloads and rows; see src/store/sqlite/quarantine/rows.rs
) STRICT, WITHOUT ROWID;

-- Quarantine of a file that version 6 or earlier wrote. After the start, the writer moves its rows to the
-- tables above, in batches. Empty in all other files.
CREATE TABLE "quarantine_6" (
    q                 INTEGER PRIMARY KEY AUTOINCREMENT,
    id                BLOB    NOT NULL UNIQUE CHECK (length(id) = 16), -- hash of the entry
    source            TEXT    NOT NULL,
    entry             INTEGER NOT NULL,  -- index of the entry in the delivery, from 0
    method            TEXT    NOT NULL,
    query             TEXT    NOT NULL,  -- without token and signature
    content_type      TEXT,
    reason            TEXT    NOT NULL,
    received_at       INTEGER NOT NULL,  -- first arrival
    times             INTEGER NOT NULL,  -- number of arrivals
    body              BLOB    NOT NULL   -- last, so that the others are read without it
) STRICT;

-- Tombstones: keyed hashes of the ids of erased messages and quarantined entries, kept for as long as a late
-- retry could restore them.
CREATE TABLE erased (
    hash              BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 16),
    until             INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Hourly counts: messages by the hour of their acceptance and their current status. Changed in the same
-- transactions as the notification log. Removed messages stay counted. At most 200 codes per hour and channel
-- have rows of their own; `other` counts the rest.
CREATE TABLE hourly (
    hour              INTEGER NOT NULL,  -- since 1970 UTC
    channel           INTEGER NOT NULL,
    kind              INTEGER NOT NULL,  -- a status: messages with this status; 6: messages that were
                                         -- delivered, including those read later
    detail            TEXT    NOT NULL,  -- for REJECTED and UNDELIVERED the provider's code, unless it
                                         -- could contain a phone number; for 6 the class of the
                                         -- delivery time, see src/store/hourly_counts.rs
    messages          INTEGER NOT NULL,
    PRIMARY KEY (hour, channel, kind, detail)
) STRICT, WITHOUT ROWID;

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
    indexed_n         INTEGER NOT NULL,  -- rows of `message` up to this n are in the index
    index_secret      BLOB    NOT NULL   -- secret of the hashes in the index
) STRICT;
INSERT INTO progress VALUES
    (1, 0, 0, 0, 0, randomblob(32), 1, NULL, 0, NULL, NULL, 0, randomblob(32));
