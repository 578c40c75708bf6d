-- Whose a client certificate is, where it names no SAE itself: by what is unique to it (RFC 5280 clause 4.1.2.2).
CREATE TABLE sae_certificate (
    issuer        text NOT NULL,              -- RFC 4514
    serial_number numeric(50, 0) NOT NULL,
    sae_id        text NOT NULL REFERENCES sae (sae_id) ON DELETE CASCADE,
    registered_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer, serial_number)
);
