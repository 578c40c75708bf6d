-- What a request to additional slaves was refused for want of bits: it is delivered whole or not at all, so the scheduler
-- has to gather as much. Kept until such a request was served.
CREATE TABLE wanted_keys (
    link          text NOT NULL REFERENCES link (name),
    key_size_bits int NOT NULL,
    key_count     int NOT NULL,
    PRIMARY KEY (link, key_size_bits)
);
