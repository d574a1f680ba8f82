-- Tables of ../schema.sql with PostgreSQL's types. Executed at each start.

CREATE TABLE IF NOT EXISTS message (
    id                UUID PRIMARY KEY,
    status            SMALLINT NOT NULL,
    status_changed_at TIMESTAMPTZ NOT NULL,
    accepted_at       TIMESTAMPTZ,
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
);

CREATE INDEX IF NOT EXISTS message_by_destination ON message (destination, accepted_at DESC)
    WHERE destination IS NOT NULL;
CREATE INDEX IF NOT EXISTS message_by_reference ON message (reference_key, accepted_at DESC)
    WHERE reference_key IS NOT NULL;

CREATE TABLE IF NOT EXISTS notification (
    seq               BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    message_id        UUID NOT NULL,
    identity          BYTEA NOT NULL, -- the SHA-256 of the body
    received_at       TIMESTAMPTZ NOT NULL DEFAULT now(),
    status            SMALLINT NOT NULL,
    status_changed_at TIMESTAMPTZ NOT NULL,
    accepted_at       TIMESTAMPTZ,
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
);
