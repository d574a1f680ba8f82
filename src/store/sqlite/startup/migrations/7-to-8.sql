-- From version 7 to version 8: the indexes of lists have messages that were accepted at the same time in the order
-- of their ids. Messages get their place in lists after this, and then the indexes that have it: see
-- 7-to-8-lists.sql.

DROP INDEX message_by_destination;
DROP INDEX message_by_reference;
DROP INDEX message_by_acceptance;
ALTER TABLE message ADD COLUMN list_order INTEGER;
