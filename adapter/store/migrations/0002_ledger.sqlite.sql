-- The contract layer: accounts, holds, journal, and one table for all other kinds of rows.
-- STRICT and the bounds keep SQLite from turning an overflow into REAL. Everything but
-- ledger_entries can be rebuilt by replaying it.

CREATE TABLE ledger_accounts (
    id TEXT NOT NULL PRIMARY KEY,
    posted INTEGER NOT NULL,
    held INTEGER NOT NULL,
    CHECK (posted BETWEEN -9223372036854775807 AND 9223372036854775807),
    CHECK (id LIKE 'sys|%' OR held BETWEEN 0 AND posted)
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger_holds (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount > 0),
    purpose TEXT NOT NULL,
    until_ms INTEGER NOT NULL CHECK (until_ms >= 0),
    state TEXT NOT NULL CHECK (state IN ('PENDING', 'POSTED', 'VOIDED', 'EXPIRED')),
    posted INTEGER NOT NULL CHECK (posted BETWEEN 0 AND amount)
) STRICT, WITHOUT ROWID;

CREATE INDEX ledger_holds_open ON ledger_holds (purpose) WHERE state = 'PENDING';

CREATE TABLE ledger_entries (
    seq INTEGER NOT NULL PRIMARY KEY CHECK (seq >= 0),
    time_ms INTEGER NOT NULL,
    hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),
    body BLOB NOT NULL
) STRICT;

CREATE TABLE ledger_rows (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE ledger_lists (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    sort TEXT NOT NULL,
    key TEXT NOT NULL,
    PRIMARY KEY (kind, name, value, sort, key)
) STRICT, WITHOUT ROWID;
