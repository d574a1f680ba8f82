-- From version 3 to version 4: the texts of a record that are only shown are in one column.

ALTER TABLE message RENAME TO message_3;
DROP INDEX message_by_destination;
DROP INDEX message_by_reference;

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

INSERT INTO message (n, id, last, notifications, status, status_arrived_at, began_accepted,
    began_stated, began_arrived, channel, destination, reference_key, provider_code, texts, segments,
    ranks)
SELECT n, id, last, notifications, status, status_arrived_at, began_accepted, began_stated,
    began_arrived, channel, destination, reference_key, provider_code,
    coalesce(octet_length(reference_service) || ':' || reference_service, '-')
        || coalesce(octet_length(reference_action) || ':' || reference_action, '-')
        -- Without a record there is no name, and so no texts.
        || octet_length(provider_name) || ':' || provider_name
        || octet_length(provider_id) || ':' || provider_id
        || octet_length(provider_status) || ':' || provider_status
        || coalesce(octet_length(provider_message) || ':' || provider_message, '-'),
    segments, ranks
FROM message_3
ORDER BY n;

-- The two lists, newest acceptance first. Ties are few and sorted by id when read.
CREATE INDEX message_by_destination ON message (destination, accepted_at DESC)
    WHERE destination IS NOT NULL;
CREATE INDEX message_by_reference ON message (reference_key, accepted_at DESC)
    WHERE reference_key IS NOT NULL;

DROP TABLE message_3;
