-- Where a block came from, and what its confirmation covers beside its bits: the whole file it was cut from, keyed with
-- the block's own first bits, which are burned.
ALTER TABLE block
    ADD COLUMN origin  text NOT NULL DEFAULT 'bb84' CHECK (origin IN ('bb84', 'directory')),
    ADD COLUMN binding bytea;

-- Files of links that are fed from a directory: a name is read once, ever, and so are contents. The record outlives the file.
CREATE TABLE key_file (
    link         text NOT NULL REFERENCES link (name),
    name         text NOT NULL,
    digest       bytea NOT NULL UNIQUE,   -- keyed
    length_bytes bigint NOT NULL CHECK (length_bytes > 0),
    read_bytes   bigint NOT NULL DEFAULT 0 CHECK (read_bytes <= length_bytes),
    is_read      boolean NOT NULL DEFAULT false,
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (link, name)
);
