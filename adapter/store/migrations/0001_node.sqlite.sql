-- Tables of a node beside its ledger. Instants end in _ms or _us and count from 1970, UTC.
-- Bounds keep every integer an integer: SQLite turns one beyond 2^63 into a REAL silently
-- wherever a table is not STRICT. Lists are written with OR: for IN with three and more values
-- SQLite builds a table on each insert, 10 µs of 32 for a row of the outbox.

-- Transactions get a number in order of first appearance. Everything is indexed by that number,
-- not by the id, which is random: the newest entries of an index then share a few pages, and a
-- unit of work rewrites a third fewer.
CREATE TABLE wire_transaction (
    number INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice
    transaction_id TEXT NOT NULL UNIQUE
) STRICT;

-- Messages received and answered.
CREATE TABLE inbox (
    id INTEGER PRIMARY KEY,
    sender TEXT NOT NULL,
    message_id TEXT NOT NULL,
    action TEXT NOT NULL,
    variant TEXT NOT NULL,
    digest TEXT NOT NULL,
    transaction_id TEXT NOT NULL,
    received_us INTEGER NOT NULL CHECK (received_us >= 0),
    authorization TEXT NOT NULL,
    http_status INTEGER NOT NULL CHECK (http_status BETWEEN 100 AND 599),
    reply BLOB NOT NULL,
    code TEXT,
    body BLOB NOT NULL,
    transaction_number INTEGER NOT NULL,
    UNIQUE (sender, message_id, action, variant)
) STRICT;
CREATE INDEX inbox_transaction ON inbox (transaction_number);
CREATE INDEX inbox_age ON inbox (received_us);

-- Trades. The document is the trade; the other columns repeat what is searched for.
CREATE TABLE trade (
    id INTEGER PRIMARY KEY,
    transaction_number INTEGER NOT NULL,
    side TEXT NOT NULL CHECK (side = 'bap' OR side = 'bpp' OR side = 'grid_operator'),
    transaction_id TEXT NOT NULL,
    peer TEXT NOT NULL,
    state TEXT NOT NULL,
    contract_id TEXT,
    leg_number INTEGER,
    due_ms INTEGER CHECK (due_ms >= 0),
    version INTEGER NOT NULL CHECK (version > 0),
    document TEXT NOT NULL,
    UNIQUE (transaction_number, side)
) STRICT;
CREATE INDEX trade_side ON trade (side, transaction_number);
CREATE INDEX trade_contract ON trade (contract_id, side, peer) WHERE contract_id IS NOT NULL;
CREATE UNIQUE INDEX trade_leg ON trade (leg_number) WHERE leg_number IS NOT NULL;
CREATE INDEX trade_due ON trade (due_ms) WHERE due_ms IS NOT NULL;

-- To which transaction a contract id of our own catalogue belongs.
CREATE TABLE bound_contract (
    contract_id TEXT PRIMARY KEY,
    transaction_id TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE contract_history (
    key TEXT PRIMARY KEY,
    summary BLOB NOT NULL
) STRICT;

CREATE TABLE mark (
    key TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- Requests of our own.
CREATE TABLE asked (
    message_id TEXT NOT NULL,
    action TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side = 'bap' OR side = 'bpp' OR side = 'grid_operator'),
    transaction_id TEXT NOT NULL,
    peer TEXT NOT NULL,
    deadline_ms INTEGER NOT NULL CHECK (deadline_ms >= 0),
    state TEXT NOT NULL CHECK (state = 'OPEN' OR state = 'ANSWERED' OR state = 'FAILED' OR state = 'EXPIRED'),
    answer_digest TEXT,
    error TEXT,
    transaction_number INTEGER NOT NULL,
    PRIMARY KEY (message_id, action)
) STRICT, WITHOUT ROWID;
CREATE INDEX asked_open ON asked (transaction_number, deadline_ms) WHERE state = 'OPEN';
CREATE INDEX asked_due ON asked (deadline_ms) WHERE state = 'OPEN';

-- Authorization header of each attempt to send a message.
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL,
    action TEXT NOT NULL,
    authorization TEXT NOT NULL
) STRICT;
CREATE INDEX attempt_message ON attempt (message_id, action);

-- Messages to send. The rows of one (peer, transaction) form a line. The head of a line, and only
-- the head, has ready_ms: when it is due or, while CLAIMED, when its lease ends. So a claim reads
-- only rows that it takes, however many wait behind a peer that is away.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice
    peer TEXT NOT NULL,
    url TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind = 'request' OR kind = 'callback' OR kind = 'compensation'),
    action TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side = 'bap' OR side = 'bpp' OR side = 'grid_operator'),
    transaction_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    created_ms INTEGER NOT NULL CHECK (created_ms >= 0),
    next_ms INTEGER NOT NULL CHECK (next_ms >= 0),
    expires_ms INTEGER CHECK (expires_ms >= 0),
    state TEXT NOT NULL CHECK (state = 'DUE' OR state = 'CLAIMED' OR state = 'SENT' OR state = 'REFUSED' OR state = 'DEAD'),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    request_authorization TEXT,
    http_status INTEGER,
    code TEXT,
    ack_signature TEXT,
    sent_us INTEGER CHECK (sent_us >= 0),
    took_us INTEGER CHECK (took_us >= 0),
    ready_ms INTEGER CHECK (ready_ms >= 0),
    transaction_number INTEGER NOT NULL,
    CHECK (ready_ms IS NULL OR state IN ('DUE', 'CLAIMED')),
    CHECK (ready_ms IS NOT NULL OR state <> 'CLAIMED')
) STRICT;
CREATE INDEX outbox_ready ON outbox (ready_ms) WHERE ready_ms IS NOT NULL;
CREATE UNIQUE INDEX outbox_head ON outbox (transaction_number, peer) WHERE ready_ms IS NOT NULL;
CREATE INDEX outbox_behind ON outbox (transaction_number, peer) WHERE state = 'DUE' AND ready_ms IS NULL;
CREATE INDEX outbox_dead ON outbox (state) WHERE state = 'DEAD';
CREATE INDEX outbox_message ON outbox (message_id, action);
CREATE INDEX outbox_transaction ON outbox (transaction_number);
CREATE INDEX outbox_age ON outbox (created_ms);

-- Apart, because the row beside it is rewritten twice for each attempt and the body never.
CREATE TABLE outbox_body (
    id INTEGER PRIMARY KEY REFERENCES outbox (id) ON DELETE CASCADE,
    body BLOB NOT NULL
) STRICT;

-- Offers. The document is the offer; the other columns repeat what is searched for and the stock.
CREATE TABLE offer (
    id INTEGER PRIMARY KEY,
    offer_id TEXT NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL CHECK (created_ms >= 0),
    available_micro_kwh INTEGER NOT NULL
        CHECK (available_micro_kwh BETWEEN 0 AND 1000000000000),
    withdrawn INTEGER NOT NULL CHECK (withdrawn BETWEEN 0 AND 1),
    document TEXT NOT NULL
) STRICT;
CREATE INDEX offer_listed ON offer (created_ms) WHERE withdrawn = 0;
