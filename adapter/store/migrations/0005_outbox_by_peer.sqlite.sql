-- A claim takes a few messages of each peer, and none of those that have their share under way. By
-- peer it reads the rows it takes, however many others wait.
DROP INDEX outbox_ready;
CREATE INDEX outbox_ready ON outbox (peer, ready_ms) WHERE ready_ms IS NOT NULL;
