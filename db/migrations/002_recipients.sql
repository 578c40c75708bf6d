-- A batch's keys may go to recipients at both KMEs, and to a pool of one request's own instead of the connection's.
-- voiding: nobody has or will have its keys, as far as is known; the peer may not know yet. voided: it does.
ALTER TABLE batch ADD COLUMN own_recipients text[] NOT NULL DEFAULT '{}';
ALTER TABLE batch ADD COLUMN request_id uuid;
ALTER TABLE batch DROP CONSTRAINT batch_state_check;
ALTER TABLE batch ADD CONSTRAINT batch_state_check
    CHECK (state IN ('recorded', 'committed', 'refused', 'voiding', 'voided'));
DROP INDEX batch_unsettled;
CREATE INDEX batch_unsettled ON batch (recorded_at) WHERE state IN ('recorded', 'voiding');
CREATE INDEX batch_request ON batch (request_id) WHERE request_id IS NOT NULL;
