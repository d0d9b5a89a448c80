-- Tables of a node beside its ledger. Instants end in _ms or _us and count from 1970, UTC.
-- COLLATE "C" orders texts by code point, as SQLite and Python do, whatever the database's locale.

-- Transactions get a number in order of first appearance. Everything is indexed by that number,
-- not by the id, which is random: the newest entries of an index then share a few pages.
CREATE TABLE wire_transaction (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- never given twice
    transaction_id TEXT COLLATE "C" NOT NULL UNIQUE
);

-- Messages received and answered.
CREATE TABLE inbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sender TEXT COLLATE "C" NOT NULL,
    message_id TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    variant TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    transaction_id TEXT COLLATE "C" NOT NULL,
    received_us BIGINT NOT NULL CHECK (received_us >= 0),
    "authorization" TEXT COLLATE "C" NOT NULL,
    http_status BIGINT NOT NULL CHECK (http_status BETWEEN 100 AND 599),
    reply BYTEA NOT NULL,
    code TEXT COLLATE "C",
    body BYTEA NOT NULL,
    transaction_number BIGINT NOT NULL,
    UNIQUE (sender, message_id, action, variant)
);
CREATE INDEX inbox_transaction ON inbox (transaction_number);
CREATE INDEX inbox_age ON inbox (received_us);

-- Trades. The document is the trade; the other columns repeat what is searched for.
CREATE TABLE trade (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_number BIGINT NOT NULL,
    side TEXT COLLATE "C" NOT NULL CHECK (side = 'bap' OR side = 'bpp' OR side = 'grid_operator'),
    transaction_id TEXT COLLATE "C" NOT NULL,
    peer TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    contract_id TEXT COLLATE "C",
    leg_number BIGINT,
    due_ms BIGINT CHECK (due_ms >= 0),
    version BIGINT NOT NULL CHECK (version > 0),
    document TEXT COLLATE "C" NOT NULL,
    UNIQUE (transaction_number, side)
);
CREATE INDEX trade_side ON trade (side, transaction_number);
CREATE INDEX trade_contract ON trade (contract_id, side, peer) WHERE contract_id IS NOT NULL;
CREATE UNIQUE INDEX trade_leg ON trade (leg_number) WHERE leg_number IS NOT NULL;
CREATE INDEX trade_due ON trade (due_ms) WHERE due_ms IS NOT NULL;

-- To which transaction a contract id of our own catalogue belongs.
CREATE TABLE bound_contract (
    contract_id TEXT COLLATE "C" PRIMARY KEY,
    transaction_id TEXT COLLATE "C" NOT NULL
);

CREATE TABLE contract_history (
    key TEXT COLLATE "C" PRIMARY KEY,
    summary BYTEA NOT NULL
);

CREATE TABLE mark (
    key TEXT COLLATE "C" PRIMARY KEY
);

-- Requests of our own.
CREATE TABLE asked (
    message_id TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    side TEXT COLLATE "C" NOT NULL CHECK (side = 'bap' OR side = 'bpp' OR side = 'grid_operator'),
    transaction_id TEXT COLLATE "C" NOT NULL,
    peer TEXT COLLATE "C" NOT NULL,
    deadline_ms BIGINT NOT NULL CHECK (deadline_ms >= 0),
    state TEXT COLLATE "C" NOT NULL CHECK (state = 'OPEN' OR state = 'ANSWERED' OR state = 'FAILED' OR state = 'EXPIRED'),
    answer_digest TEXT COLLATE "C",
    error TEXT COLLATE "C",
    transaction_number BIGINT NOT NULL,
    PRIMARY KEY (message_id, action)
);
CREATE INDEX asked_open ON asked (transaction_number, deadline_ms) WHERE state = 'OPEN';
CREATE INDEX asked_due ON asked (deadline_ms) WHERE state = 'OPEN';

-- Authorization header of each attempt to send a message.
CREATE TABLE attempt (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    "authorization" TEXT COLLATE "C" NOT NULL
);
CREATE INDEX attempt_message ON attempt (message_id, action);

-- Messages to send. The rows of one (peer, transaction) form a line. The head of a line, and only
-- the head, has ready_ms: when it is due or, while CLAIMED, when its lease ends. So a claim reads
-- only rows that it takes, however many wait behind a peer that is away.
CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- never given twice
    peer TEXT COLLATE "C" NOT NULL,
    url TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL CHECK (kind = 'request' OR kind = 'callback' OR kind = 'compensation'),
    action TEXT COLLATE "C" NOT NULL,
    side TEXT COLLATE "C" NOT NULL CHECK (side = 'bap' OR side = 'bpp' OR side = 'grid_operator'),
    transaction_id TEXT COLLATE "C" NOT NULL,
    message_id TEXT COLLATE "C" NOT NULL,
    created_ms BIGINT NOT NULL CHECK (created_ms >= 0),
    next_ms BIGINT NOT NULL CHECK (next_ms >= 0),
    expires_ms BIGINT CHECK (expires_ms >= 0),
    state TEXT COLLATE "C" NOT NULL CHECK (state = 'DUE' OR state = 'CLAIMED' OR state = 'SENT' OR state = 'REFUSED' OR state = 'DEAD'),
    attempts BIGINT NOT NULL CHECK (attempts >= 0),
    request_authorization TEXT COLLATE "C",
    http_status BIGINT,
    code TEXT COLLATE "C",
    ack_signature TEXT COLLATE "C",
    sent_us BIGINT CHECK (sent_us >= 0),
    took_us BIGINT CHECK (took_us >= 0),
    ready_ms BIGINT CHECK (ready_ms >= 0),
    transaction_number BIGINT NOT NULL,
    claimed_by TEXT COLLATE "C", -- session that claimed it last, to tell whether that is still there
    CHECK (ready_ms IS NULL OR state IN ('DUE', 'CLAIMED')),
    CHECK (ready_ms IS NOT NULL OR state <> 'CLAIMED')
);
CREATE INDEX outbox_ready ON outbox (ready_ms) WHERE ready_ms IS NOT NULL;
CREATE UNIQUE INDEX outbox_head ON outbox (transaction_number, peer) WHERE ready_ms IS NOT NULL;
CREATE INDEX outbox_behind ON outbox (transaction_number, peer) WHERE state = 'DUE' AND ready_ms IS NULL;
CREATE INDEX outbox_dead ON outbox (state) WHERE state = 'DEAD';
CREATE INDEX outbox_message ON outbox (message_id, action);
CREATE INDEX outbox_transaction ON outbox (transaction_number);
CREATE INDEX outbox_age ON outbox (created_ms);

-- Apart, because the row beside it is rewritten twice for each attempt and the body never.
CREATE TABLE outbox_body (
    id BIGINT PRIMARY KEY REFERENCES outbox (id) ON DELETE CASCADE,
    body BYTEA NOT NULL
);

-- Offers. The document is the offer; the other columns repeat what is searched for and the stock.
CREATE TABLE offer (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    offer_id TEXT COLLATE "C" NOT NULL UNIQUE,
    created_ms BIGINT NOT NULL CHECK (created_ms >= 0),
    available_micro_kwh BIGINT NOT NULL
        CHECK (available_micro_kwh BETWEEN 0 AND 1000000000000),
    withdrawn BIGINT NOT NULL CHECK (withdrawn BETWEEN 0 AND 1),
    document TEXT COLLATE "C" NOT NULL
);
CREATE INDEX offer_listed ON offer (created_ms) WHERE withdrawn = 0;
