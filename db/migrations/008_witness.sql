-- The marks of this KME's key store and of its peers' (docs/protocols.md, "The witness"), as last heard: never ahead of
-- what they are, at most a second behind. A store is a random id made when its epoch began.
CREATE TABLE witness (
    kme_id text PRIMARY KEY,
    is_own boolean NOT NULL,
    epoch  bigint NOT NULL,
    store  text NOT NULL,
    count  bigint NOT NULL
);
CREATE UNIQUE INDEX witness_own ON witness (is_own) WHERE is_own;
