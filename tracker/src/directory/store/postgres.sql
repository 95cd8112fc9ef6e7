CREATE TABLE torrents (
    id integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    v1 bytea UNIQUE,
    v2 bytea UNIQUE,
    title text NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    tags text NOT NULL,
    size bigint NOT NULL,
    files bigint NOT NULL,
    title_words smallint NOT NULL,
    published bigint NOT NULL,
    owner text
);

CREATE TABLE uploads (id integer PRIMARY KEY REFERENCES torrents ON DELETE CASCADE, bytes bytea NOT NULL);
-- A .torrent is hashes, which nothing makes shorter.
ALTER TABLE uploads ALTER COLUMN bytes SET STORAGE EXTERNAL;

-- Folded already; A: title and name, B: tags, D: file names.
CREATE TABLE words (id integer PRIMARY KEY REFERENCES torrents ON DELETE CASCADE, words tsvector NOT NULL);
CREATE INDEX words_index ON words USING gin (words);

CREATE TABLE history (
    id integer NOT NULL REFERENCES torrents ON DELETE CASCADE,
    hour bigint NOT NULL,
    seeders bigint NOT NULL,
    leechers bigint NOT NULL,
    completed bigint NOT NULL,
    PRIMARY KEY (id, hour)
);

CREATE INDEX history_hours ON history (hour);
