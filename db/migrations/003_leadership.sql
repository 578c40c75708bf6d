-- The number of the scheduler in office; each counts it up when it takes office (kme/leadership.py).
CREATE TABLE leadership (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    term     bigint NOT NULL
);
INSERT INTO leadership (term) VALUES (0);
