-- Rows of an entry that are too many to list in it: fixed-width int64, see settlement/blocks.py.

CREATE TABLE ledger_blocks (
    seq BIGINT NOT NULL REFERENCES ledger_entries (seq),
    name TEXT COLLATE "C" NOT NULL,
    leaf_rows BIGINT NOT NULL CHECK (leaf_rows > 0),
    data BYTEA NOT NULL,
    PRIMARY KEY (seq, name)
);
