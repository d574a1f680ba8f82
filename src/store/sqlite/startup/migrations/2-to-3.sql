-- From version 2 to version 3: the notifications are a log, and the records follow it.

ALTER TABLE notification RENAME TO notification_2;
ALTER TABLE message RENAME TO message_2;
DROP INDEX message_by_destination;
DROP INDEX message_by_reference;

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

-- In the order of their arrival, also where the clock was set back meanwhile.
INSERT INTO notification
SELECT seq, message, lag(seq) OVER (PARTITION BY n ORDER BY arrival), identity,
       CASE WHEN registration = 1 THEN 2 ELSE EXISTS (
           SELECT 1 FROM foreign_id AS f
           WHERE f.source = said.source AND f.id = provider_id AND f.n = said.n) END,
       CASE WHEN first_change IS NOT NULL THEN coalesce(
           (SELECT previous FROM change WHERE seq = first_change), -1) END,
       received_at, ordered_at, source, outcome, status, stated_at, accepted_at, channel, destination,
       reference_service, reference_action, reference_key, provider_name, provider_id,
       provider_status, provider_code, provider_message, segments
FROM (
    SELECT row_number() OVER (ORDER BY came_at, n, arrival) AS seq, came.*, changes.first_change
    FROM (
        SELECT max(received_at) OVER (PARTITION BY notification_2.n ORDER BY arrival) AS came_at,
               notification_2.*, message_2.id AS message
        FROM notification_2 JOIN message_2 USING (n)
    ) AS came
    LEFT JOIN (
        SELECT n, arrival, min(seq) AS first_change FROM change GROUP BY n, arrival
    ) AS changes USING (n, arrival)
) AS said
ORDER BY seq;

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
    reference_service TEXT,
    reference_action  TEXT,
    reference_key     TEXT,
    provider_name     TEXT,
    provider_id       TEXT,
    provider_status   TEXT,
    provider_code     TEXT,
    provider_message  TEXT,
    segments          INTEGER,
    ranks             BLOB               -- the worth of the claims to status, destination,
                                         -- reference and segments; see src/store/sqlite/row.rs
) STRICT;

INSERT INTO message (n, id, last, notifications, status, status_arrived_at, began_accepted,
    began_stated, began_arrived, channel, destination, reference_service, reference_action,
    reference_key, provider_name, provider_id, provider_status, provider_code, provider_message,
    segments, ranks)
SELECT n, id, last, notifications, status, status_arrived_at, began_accepted,
    began_stated, began_arrived, channel, destination, reference_service, reference_action,
    reference_key, provider_name, provider_id, provider_status, provider_code, provider_message,
    segments, ranks
FROM message_2 JOIN (SELECT message, max(seq) AS last FROM notification GROUP BY message)
    ON message = id
ORDER BY n;

-- The two lists, newest acceptance first. Ties are few and sorted by id when read.
CREATE INDEX message_by_destination ON message (destination, accepted_at DESC)
    WHERE destination IS NOT NULL;
CREATE INDEX message_by_reference ON message (reference_key, accepted_at DESC)
    WHERE reference_key IS NOT NULL;

-- One row: where the writer is.
CREATE TABLE progress (
    one               INTEGER PRIMARY KEY CHECK (one = 1),
    folded            INTEGER NOT NULL,  -- up to here all of `notification` is in `message`
    last_seq          INTEGER NOT NULL,  -- the greatest seq and n of what was removed: none is
    last_n            INTEGER NOT NULL,  -- used twice
    hash_key          BLOB    NOT NULL   -- the key of the hashes in `erased`
) STRICT;
INSERT INTO progress
SELECT 1, (SELECT coalesce(max(seq), 0) FROM notification), 0, last_n, hash_key FROM removal;

DROP TABLE notification_2;
DROP TABLE message_2;
DROP TABLE change;
DROP TABLE removal;
