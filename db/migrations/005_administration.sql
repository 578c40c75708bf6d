-- Administration: suspension, limits, and changes of a connection that both KMEs must come to agree on.

-- A removed SAE or connection stays as a tombstone, so that neither the topology nor a late call brings it back.
ALTER TABLE sae
    ADD COLUMN suspended boolean NOT NULL DEFAULT false,
    ADD COLUMN removed   boolean NOT NULL DEFAULT false,
    ADD COLUMN limits    jsonb NOT NULL DEFAULT '{}';

-- Of two states of a connection the one with the greater (revision, revised_by) holds, at both KMEs.
-- told_revision: the newest that the other KME has acknowledged. followed_revision: the newest that this site's key store
-- has followed. Where one of them is behind, the scheduler catches up.
ALTER TABLE connection
    ADD COLUMN suspended           boolean NOT NULL DEFAULT false,
    ADD COLUMN removed             boolean NOT NULL DEFAULT false,
    ADD COLUMN revision            bigint NOT NULL DEFAULT 0,
    ADD COLUMN revised_by          text NOT NULL DEFAULT '',
    ADD COLUMN told_revision       bigint NOT NULL DEFAULT 0,
    ADD COLUMN followed_revision   bigint NOT NULL DEFAULT 0,
    ADD COLUMN destroyed_key_count bigint NOT NULL DEFAULT 0;
CREATE INDEX connection_unfinished ON connection (connection_id)
    WHERE told_revision < revision OR followed_revision < revision;

-- Durations of a batch's keys: for how long its pool keeps them, from when it was recorded by the site's fast clock.
ALTER TABLE batch
    ADD COLUMN ttl_s       int NOT NULL DEFAULT 86400,
    ADD COLUMN recorded_ms bigint NOT NULL DEFAULT 0;

-- The events of one key.
CREATE INDEX audit_keys ON audit USING gin ((detail -> 'key_ids'));
CREATE INDEX batch_keys ON batch USING gin (key_ids);

-- When a block was first seen closed, by the site's slow clock: it is forgotten long after that.
ALTER TABLE block ADD COLUMN closed_ms bigint;
CREATE INDEX block_closed ON block (closed_ms) WHERE state = 'closed';
