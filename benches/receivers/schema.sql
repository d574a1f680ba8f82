-- Tables of the receivers that store webhooks in SQLite: the current state of each message by id, with
-- an index for each list, and all notifications. Executed at each start. postgres/schema.sql has the same
-- tables for PostgreSQL.
--
-- Times are texts in UTC. Statuses are numbers in order of precedence:
-- 0 PROVIDER_ACCEPTANCE, 1 SENT, 2 REJECTED, 3 UNDELIVERED, 4 DELIVERED, 5 READ.

CREATE TABLE IF NOT EXISTS message (
    id                TEXT PRIMARY KEY,
    status            INTEGER NOT NULL,
    status_changed_at TEXT NOT NULL,
    accepted_at       TEXT,
    channel           TEXT NOT NULL,
    destination       TEXT,
    reference_service TEXT,
    reference_action  TEXT,
    reference_key     TEXT,
    provider_name     TEXT NOT NULL,
    provider_id       TEXT NOT NULL,
    provider_status   TEXT NOT NULL,
    provider_code     TEXT NOT NULL,
    provider_message  TEXT,
    segments          INTEGER
) STRICT;

CREATE INDEX IF NOT EXISTS message_by_destination ON message (destination, accepted_at DESC)
    WHERE destination IS NOT NULL;
CREATE INDEX IF NOT EXISTS message_by_reference ON message (reference_key, accepted_at DESC)
    WHERE reference_key IS NOT NULL;

CREATE TABLE IF NOT EXISTS notification (
    seq               INTEGER PRIMARY KEY,
    message_id        TEXT NOT NULL,
    identity          BLOB NOT NULL, -- the SHA-256 of the body
    received_at       TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
    status            INTEGER NOT NULL,
    status_changed_at TEXT NOT NULL,
    accepted_at       TEXT,
    channel           TEXT NOT NULL,
    destination       TEXT,
    reference_service TEXT,
    reference_action  TEXT,
    reference_key     TEXT,
    provider_name     TEXT NOT NULL,
    provider_id       TEXT NOT NULL,
    provider_status   TEXT NOT NULL,
    provider_code     TEXT NOT NULL,
    provider_message  TEXT,
    segments          INTEGER,
    UNIQUE (message_id, identity)
) STRICT;
