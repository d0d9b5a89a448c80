-- The contract layer: accounts, holds, journal, and one table for all other kinds of rows.
-- Everything but ledger_entries can be rebuilt by replaying it.

CREATE TABLE ledger_accounts (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    posted BIGINT NOT NULL,
    held BIGINT NOT NULL,
    CHECK (posted BETWEEN -9223372036854775807 AND 9223372036854775807),
    CHECK (id LIKE 'sys|%' OR held BETWEEN 0 AND posted)
);

CREATE TABLE ledger_holds (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    account TEXT COLLATE "C" NOT NULL,
    amount BIGINT NOT NULL CHECK (amount > 0),
    purpose TEXT COLLATE "C" NOT NULL,
    until_ms BIGINT NOT NULL CHECK (until_ms >= 0),
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('PENDING', 'POSTED', 'VOIDED', 'EXPIRED')),
    posted BIGINT NOT NULL CHECK (posted BETWEEN 0 AND amount)
);

CREATE INDEX ledger_holds_open ON ledger_holds (purpose) WHERE state = 'PENDING';

CREATE TABLE ledger_entries (
    seq BIGINT NOT NULL PRIMARY KEY CHECK (seq >= 0),
    time_ms BIGINT NOT NULL,
    hash TEXT COLLATE "C" NOT NULL UNIQUE CHECK (length(hash) = 64),
    body BYTEA NOT NULL
);

CREATE TABLE ledger_rows (
    kind TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    body TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, key)
);

CREATE TABLE ledger_lists (
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    value TEXT COLLATE "C" NOT NULL,
    sort TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (kind, name, value, sort, key)
);
