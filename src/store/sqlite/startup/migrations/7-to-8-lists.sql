-- The end of the way from version 7 to version 8, once each message has its place in lists. All in all the migration
-- takes about seven seconds for each million of messages.

CREATE INDEX message_by_destination ON message (destination, list_order)
    WHERE destination IS NOT NULL;
CREATE INDEX message_by_reference ON message (reference_key, list_order)
    WHERE reference_key IS NOT NULL;
CREATE INDEX message_by_acceptance ON message (list_order);
