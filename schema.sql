-- The tables of statusmirror's SQLite file. Executed when the file is made; version 7.
--
-- Times are microseconds since 1970 UTC. Statuses are numbers in their order of precedence:
-- 0 PROVIDER_ACCEPTANCE, 1 SENT, 2 REJECTED, 3 UNDELIVERED, 4 DELIVERED, 5 READ.
-- Channels: 0 SMS, 1 RCS. Outcomes: 0 duplicate, 1 invalid, 2 conflict, 3 applied, 4 superseded.

-- Everything that was ever said, in the order in which it came: the truth, and a log that is only
-- added to. A number is never used twice, and every change of a record has one, so whoever has read up
-- to one can go on from there.
CREATE TABLE notification (
    seq               INTEGER PRIMARY KEY,
    message           BLOB    NOT NULL CHECK (length(message) = 16),
    previous          INTEGER,           -- the last one before it about the same message
    identity          BLOB    NOT NULL CHECK (length(identity) = 16),
    kind              INTEGER NOT NULL,  -- 0 a report; 1 a report that knows the message by
                                         -- provider_id; 2 the sender's own word; 3 that word again,
                                         -- which counts as the last now, and is not shown
    changed_from      INTEGER,           -- the status before, if it changed the record; -1: there was
                                         -- no record
    received_at       INTEGER NOT NULL,
    ordered_at        INTEGER,           -- a registration's place among registrations, if another
                                         -- than received_at: just after the one before it
    source            TEXT    NOT NULL,  -- the source's name, or `api:` and the key's name
    outcome           INTEGER NOT NULL,  -- what it did when it arrived
    status            INTEGER NOT NULL,
    stated_at         INTEGER,
    accepted_at       INTEGER,
    channel           INTEGER NOT NULL,
    destination       INTEGER,           -- the digits of the E.164 number, without the plus
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

-- What follows from it for each message: the join of its notifications, and what the join needs to go
-- on. It lags behind the log up to the place in `progress`; what the log says after that is in memory,
-- and is taken from the log again at the next start.
-- Keyed by a small integer, so that recent rows share hot pages although message ids are random.
CREATE TABLE message (
    n                 INTEGER PRIMARY KEY,
    id                BLOB    NOT NULL UNIQUE CHECK (length(id) = 16),
    last              INTEGER NOT NULL,  -- its last notification; each names the one before it
    notifications     INTEGER NOT NULL,  -- how many are shown
    status            INTEGER,           -- NULL: nothing valid was said, so there is no record
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
                                         -- message: of each its length in bytes, a colon and itself,
                                         -- or a dash if it is missing
    segments          INTEGER,
    ranks             BLOB               -- the worth of the claims to status, destination,
                                         -- reference and segments; see src/store/sqlite/row.rs
) STRICT;

-- The two lists, newest acceptance first. Messages accepted at the same time are sorted by id when read; if
-- there are many of them, the index of all messages has them in that order.
CREATE INDEX message_by_destination ON message (destination, accepted_at DESC)
    WHERE destination IS NOT NULL;
CREATE INDEX message_by_reference ON message (reference_key, accepted_at DESC)
    WHERE reference_key IS NOT NULL;
-- All messages, for searches that have to look at each.
CREATE INDEX message_by_acceptance ON message (accepted_at DESC, id);
-- The messages of which the end is not known yet, in the order of their acceptance.
CREATE INDEX message_unfinished ON message (accepted_at) WHERE status IN (0, 1);

-- Which messages a provider's own id speaks of; filled only by dialects with ids of their own.
CREATE TABLE foreign_id (
    source            TEXT    NOT NULL,
    id                TEXT    NOT NULL,
    n                 INTEGER NOT NULL,
    PRIMARY KEY (source, id, n)
) STRICT, WITHOUT ROWID;

-- Raw payloads of quarantined entries. Each is stored once, however many of its entries are in quarantine,
-- and is deleted with the last of them.
CREATE TABLE raw_payload (
    p                 INTEGER PRIMARY KEY,
    hash              BLOB    NOT NULL UNIQUE CHECK (length(hash) = 16), -- of the source and all below
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
    entry             INTEGER NOT NULL,  -- which entry of the delivery, from 0
    payload           INTEGER NOT NULL REFERENCES raw_payload (p),
    url_covered       INTEGER,           -- whether verification covered the URL: 1 or 0; NULL: not known,
                                         -- because version 6 or earlier received it
    reason            TEXT    NOT NULL,
    received_at       INTEGER NOT NULL,  -- of the first
    times             INTEGER NOT NULL   -- how often it came
) STRICT;
CREATE INDEX quarantine_by_payload ON quarantine (payload);

-- What each source has in quarantine. Always changed together with it.
CREATE TABLE quarantine_usage (
    source            TEXT    NOT NULL PRIMARY KEY,
    entries           INTEGER NOT NULL,
    bytes             INTEGER NOT NULL   -- of raw payloads and rows; see src/store/sqlite/quarantine.rs
) STRICT, WITHOUT ROWID;

-- The quarantine of a file that version 6 or earlier wrote. The writer moves its rows to the tables above,
-- piece by piece after the start. Empty in all other files.
CREATE TABLE "quarantine_6" (
    q                 INTEGER PRIMARY KEY AUTOINCREMENT,
    id                BLOB    NOT NULL UNIQUE CHECK (length(id) = 16), -- a hash of what is kept
    source            TEXT    NOT NULL,
    entry             INTEGER NOT NULL,  -- which entry of the delivery, from 0
    method            TEXT    NOT NULL,
    query             TEXT    NOT NULL,  -- without token and signature
    content_type      TEXT,
    reason            TEXT    NOT NULL,
    received_at       INTEGER NOT NULL,  -- of the first
    times             INTEGER NOT NULL,  -- how often it came
    body              BLOB    NOT NULL   -- last, so that the others are read without it
) STRICT;

-- What was erased, for as long as a late retry could bring it back: hashes, under a key of this
-- file, of the names of messages and of quarantined entries.
CREATE TABLE erased (
    hash              BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 16),
    until             INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What became of the messages that were accepted in each hour, in sums: changed together with the log, so
-- always that of now. What is removed stays counted. At most 200 codes of an hour and channel have rows of
-- their own; `other` counts the rest.
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
    summed            INTEGER NOT NULL,  -- 0: `hourly` has to be made of all there is
    prune_cutoff      INTEGER,           -- the last prune removed what arrived before; NULL: none ran yet
    lineage           INTEGER NOT NULL,  -- 0, and a greater number after each restore, so that event ids and
                                         -- cursors of the lost file are recognised; below 2^13
    erased_cutoff     INTEGER,           -- rows of `erased` are kept that end at this time or later
    pruned_at         INTEGER            -- when the daily purge last ran; NULL: it never did
) STRICT;
INSERT INTO progress VALUES
    (1, 0, 0, 0, 0, randomblob(32), 1, NULL, 0, NULL, NULL);
