-- Where the chain of the hosted journal is broken, as the process says that found it. While there is
-- a row nothing is settled, by no process; a walk over a whole chain takes it away.

CREATE TABLE journal_fault (
    number INTEGER NOT NULL PRIMARY KEY CHECK (number = 1),
    fault TEXT COLLATE "C" NOT NULL
);
