-- Root statements of ledgers with their signatures: of the ledger hosted here, or of the one that
-- this node's trades are on. A statement that contradicts a kept one is kept too: both together
-- prove that the host has said two things.

CREATE TABLE root_statement (
    hash TEXT NOT NULL PRIMARY KEY CHECK (length(hash) = 64),
    ledger TEXT NOT NULL,
    last_epoch INTEGER NOT NULL CHECK (last_epoch >= 0),
    body BLOB NOT NULL,
    signature TEXT NOT NULL,
    contradicts TEXT NOT NULL -- hash of a statement kept before, or empty
) STRICT, WITHOUT ROWID;

CREATE INDEX root_statement_order ON root_statement (ledger, last_epoch) WHERE contradicts = '';
CREATE INDEX root_statement_conflict ON root_statement (ledger, last_epoch) WHERE contradicts <> '';

CREATE TABLE root_countersignature (
    statement TEXT NOT NULL REFERENCES root_statement (hash),
    key_id TEXT NOT NULL, -- subscriber|key|ed25519
    subscriber TEXT NOT NULL,
    public_key TEXT NOT NULL,
    signature TEXT NOT NULL,
    PRIMARY KEY (statement, key_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX root_countersignature_by ON root_countersignature (subscriber);
