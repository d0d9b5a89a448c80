-- Root statements of ledgers with their signatures: of the ledger hosted here, or of the one that
-- this node's trades are on. A statement that contradicts a kept one is kept too: both together
-- prove that the host has said two things.

CREATE TABLE root_statement (
    hash TEXT COLLATE "C" NOT NULL PRIMARY KEY CHECK (length(hash) = 64),
    ledger TEXT COLLATE "C" NOT NULL,
    last_epoch BIGINT NOT NULL CHECK (last_epoch >= 0),
    body BYTEA NOT NULL,
    signature TEXT COLLATE "C" NOT NULL,
    contradicts TEXT COLLATE "C" NOT NULL -- hash of a statement kept before, or empty
);

CREATE INDEX root_statement_order ON root_statement (ledger, last_epoch) WHERE contradicts = '';
CREATE INDEX root_statement_conflict ON root_statement (ledger, last_epoch) WHERE contradicts <> '';

CREATE TABLE root_countersignature (
    statement TEXT COLLATE "C" NOT NULL REFERENCES root_statement (hash),
    key_id TEXT COLLATE "C" NOT NULL, -- subscriber|key|ed25519
    subscriber TEXT COLLATE "C" NOT NULL,
    public_key TEXT COLLATE "C" NOT NULL,
    signature TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (statement, key_id)
);

CREATE INDEX root_countersignature_by ON root_countersignature (subscriber);
