-- From version 6 to version 7: raw payloads are stored once, and the file has a lineage.
--
-- Takes the same time for any amount of old quarantine: only its table's name is changed here. The writer
-- moves the rows after the start.

ALTER TABLE quarantine RENAME TO quarantine_6;
ALTER TABLE progress RENAME TO progress_6;

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

-- A place in quarantine is never used twice.
INSERT INTO sqlite_sequence (name, seq)
SELECT 'quarantine', seq FROM sqlite_sequence WHERE name = 'quarantine_6';

-- Of hours with more codes than have rows of their own from now on, the rarer ones become `other`.
INSERT INTO hourly (hour, channel, kind, detail, messages)
SELECT hour, channel, kind, 'other', sum(messages)
FROM (
    SELECT *, row_number() OVER (PARTITION BY hour, channel ORDER BY messages DESC, kind, detail) AS place
    FROM hourly JOIN (
        SELECT hour, channel FROM hourly WHERE kind IN (2, 3) AND detail NOT IN ('', 'other')
        GROUP BY hour, channel HAVING count(*) > 200
    ) USING (hour, channel)
    WHERE kind IN (2, 3) AND detail NOT IN ('', 'other')
)
WHERE place > 200
GROUP BY hour, channel, kind
ON CONFLICT DO UPDATE SET messages = messages + excluded.messages;

DELETE FROM hourly WHERE (hour, channel, kind, detail) IN (
    SELECT hour, channel, kind, detail
    FROM (
        SELECT *, row_number() OVER (PARTITION BY hour, channel ORDER BY messages DESC, kind, detail) AS place
        FROM hourly JOIN (
            SELECT hour, channel FROM hourly WHERE kind IN (2, 3) AND detail NOT IN ('', 'other')
            GROUP BY hour, channel HAVING count(*) > 200
        ) USING (hour, channel)
        WHERE kind IN (2, 3) AND detail NOT IN ('', 'other')
    )
    WHERE place > 200
);

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

INSERT INTO progress (one, folded, last_seq, last_n, without_number, hash_key, summed, prune_cutoff, lineage)
SELECT one, folded, last_seq, last_n, without_number, hash_key, summed, NULL, 0
FROM progress_6;

DROP TABLE progress_6;

-- Messages that were accepted at the same time are in the order of their ids. This takes about two seconds
-- for each million of messages.
DROP INDEX message_by_acceptance;
CREATE INDEX message_by_acceptance ON message (accepted_at DESC, id);
