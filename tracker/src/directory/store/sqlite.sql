CREATE TABLE torrents (
    -- AUTOINCREMENT: an id that was used is never used again, as long as anybody may have it in memory.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    v1 BLOB UNIQUE,
    v2 BLOB UNIQUE,
    title TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    tags TEXT NOT NULL,
    size INTEGER NOT NULL,
    files INTEGER NOT NULL,
    title_words INTEGER NOT NULL,
    published INTEGER NOT NULL,
    owner TEXT
) STRICT;

-- Apart, so that the records lie close together.
CREATE TABLE uploads (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;

-- The words are folded already. '_' begins those that tags are filtered by.
CREATE VIRTUAL TABLE words USING fts5(
    title, files, tags,
    content = '', contentless_delete = 1, prefix = '2 3', tokenize = "ascii tokenchars '_'"
);

CREATE TABLE history (
    id INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    seeders INTEGER NOT NULL,
    leechers INTEGER NOT NULL,
    completed INTEGER NOT NULL,
    PRIMARY KEY (id, hour)
) STRICT, WITHOUT ROWID;

CREATE INDEX history_hours ON history (hour);
