//! SQL statements that SQLite and PostgreSQL both accept.

/// Adds a notification, unless it is stored already.
pub const ADD_NOTIFICATION: &str = "\
    INSERT INTO notification (message_id, status, status_changed_at, accepted_at, channel, destination, \
        reference_service, reference_action, reference_key, provider_name, provider_id, \
        provider_status, provider_code, provider_message, segments, identity) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
    ON CONFLICT (message_id, identity) DO NOTHING";

/// Adds a message, or replaces its state if the new status takes precedence over the stored one.
pub const PUT_MESSAGE: &str = "\
    INSERT INTO message (id, status, status_changed_at, accepted_at, channel, destination, \
        reference_service, reference_action, reference_key, provider_name, provider_id, \
        provider_status, provider_code, provider_message, segments) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
    ON CONFLICT (id) DO UPDATE SET status = excluded.status, \
        status_changed_at = excluded.status_changed_at, accepted_at = excluded.accepted_at, \
        channel = excluded.channel, destination = excluded.destination, \
        reference_service = excluded.reference_service, \
        reference_action = excluded.reference_action, reference_key = excluded.reference_key, \
        provider_name = excluded.provider_name, provider_id = excluded.provider_id, \
        provider_status = excluded.provider_status, provider_code = excluded.provider_code, \
        provider_message = excluded.provider_message, segments = excluded.segments \
    WHERE excluded.status > message.status";

/// Reads the status of a message.
pub const STATUS: &str = "SELECT status FROM message WHERE id = $1";

/// Reads a message.
pub const MESSAGE: &str = "\
    SELECT status, status_changed_at, accepted_at, channel, reference_service, reference_action, \
        reference_key, provider_name, provider_id, provider_status, provider_code, \
        provider_message, segments \
    FROM message WHERE id = $1";
