-- One KME's records. Key and block bits are not here: they live, wrapped, in the site's Redis.

CREATE TABLE sae (
    sae_id        text PRIMARY KEY,
    registered_at timestamptz NOT NULL DEFAULT now()
);

-- A link's row is the lock under which ranges of its blocks are cut.
CREATE TABLE link (
    name        text PRIMARY KEY,
    peer_kme_id text NOT NULL
);

CREATE TABLE connection (
    connection_id       uuid PRIMARY KEY,
    source_kme_id       text NOT NULL,
    target_kme_id       text NOT NULL,
    master_sae_id       text NOT NULL,
    slave_sae_id        text NOT NULL,
    key_size_bits       int NOT NULL CHECK (key_size_bits > 0 AND key_size_bits % 8 = 0),
    max_key_count       int NOT NULL CHECK (max_key_count > 0),
    max_key_per_request int NOT NULL CHECK (max_key_per_request BETWEEN 1 AND max_key_count),
    max_sae_id_count    int NOT NULL CHECK (max_sae_id_count >= 0),
    qos                 jsonb NOT NULL DEFAULT '{}',
    registered_at       timestamptz NOT NULL DEFAULT now(),
    UNIQUE (master_sae_id, slave_sae_id)
);

-- arriving: recorded, its bits perhaps not yet in Redis. received: they are. confirmed: both KMEs hold the same block.
-- closing: the owner has told or will tell the peer that no more is cut. closed: no bits are left.
CREATE TABLE block (
    block_id     uuid PRIMARY KEY,
    link         text NOT NULL REFERENCES link (name),
    owner_kme_id text NOT NULL,
    length_bits  int NOT NULL CHECK (length_bits >= 0),
    digest       bytea,                       -- keyed; null where it was closed before it came
    state        text NOT NULL CHECK (state IN ('arriving', 'received', 'confirmed', 'closing', 'closed')),
    cursor_bits  int NOT NULL DEFAULT 0 CHECK (cursor_bits <= length_bits),
    owner_tag    bytea,
    peer_tag     bytea,
    void_reason  text,                        -- why a block was closed without having been confirmed
    recorded_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX block_open ON block (link, owner_kme_id, recorded_at) WHERE state <> 'closed';

-- The owner's record of a cut comes before its first send; a range is never cut again, whatever becomes of its batch.
CREATE TABLE batch (
    batch_id      uuid PRIMARY KEY,
    block_id      uuid NOT NULL REFERENCES block (block_id),
    connection_id uuid NOT NULL REFERENCES connection (connection_id),
    offset_bits   int NOT NULL,
    key_size_bits int NOT NULL,
    key_ids       uuid[] NOT NULL,
    recipients    text[] NOT NULL,
    state         text NOT NULL CHECK (state IN ('recorded', 'committed', 'refused')),
    refusal       text,
    recorded_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (block_id, offset_bits)
);
CREATE INDEX batch_unsettled ON batch (recorded_at) WHERE state = 'recorded';

CREATE TABLE round_report (
    report_id   bigserial PRIMARY KEY,
    block_id    uuid NOT NULL,
    link        text NOT NULL,
    outcome     text NOT NULL,
    report      jsonb NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX round_report_link ON round_report (link, report_id);

-- Drained from the site's Redis, where each event is written in the same step as the act; `stream_id` makes it once.
CREATE TABLE audit (
    audit_id    bigserial PRIMARY KEY,
    stream_id   text UNIQUE,
    happened_at timestamptz NOT NULL,
    event       text NOT NULL,
    detail      jsonb NOT NULL
);
