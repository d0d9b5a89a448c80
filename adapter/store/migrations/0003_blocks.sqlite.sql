-- Rows of an entry that are too many to list in it: fixed-width int64, see settlement/blocks.py.

CREATE TABLE ledger_blocks (
    seq INTEGER NOT NULL REFERENCES ledger_entries (seq),
    name TEXT NOT NULL,
    leaf_rows INTEGER NOT NULL CHECK (leaf_rows > 0),
    data BLOB NOT NULL,
    PRIMARY KEY (seq, name)
) STRICT;
