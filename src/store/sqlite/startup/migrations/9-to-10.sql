-- From version 9 to version 10: the entries of the index are in blocks instead of rows of their own. The program fills
-- them afterwards (src/store/sqlite/index/stored_rows.rs).

DROP TABLE IF EXISTS message_index;
DELETE FROM index_run;

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
