-- The audit trail is a chain (kme/audit_chain.py): each row's `chain` authenticates its content and the row before it.
-- Rows are numbered without a gap by whoever appends them, under a lock, so no sequence numbers them any more.
ALTER TABLE audit ALTER COLUMN audit_id DROP DEFAULT;
DROP SEQUENCE audit_audit_id_seq;
ALTER TABLE audit ADD COLUMN chain bytea;
CREATE INDEX audit_event ON audit (event, audit_id);
-- What the audit trail has told of the authorities' revocation lists already.
CREATE TABLE revoked_certificate (
    authority     text NOT NULL,
    serial_number numeric(50, 0) NOT NULL,
    PRIMARY KEY (authority, serial_number)
);
