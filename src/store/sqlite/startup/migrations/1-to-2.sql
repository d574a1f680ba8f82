-- From version 1 to version 2: messages can be erased and pruned.

-- What was erased, for as long as a late retry could bring it back: hashes, under a key of this
-- file, of the names of messages and of quarantined entries.
CREATE TABLE erased (
    hash              BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 16),
    until             INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row: what removing messages must remember.
CREATE TABLE removal (
    one               INTEGER PRIMARY KEY CHECK (one = 1),
    hash_key          BLOB    NOT NULL,  -- the key of the hashes in `erased`
    last_n            INTEGER NOT NULL   -- the greatest n of a removed message: none is used twice
) STRICT;
INSERT INTO removal VALUES (1, randomblob(32), 0);
