-- The bond to outbox made each new message read and lock the row it was written with: half of what
-- a message costs. Rows of both come and go in one statement or transaction each.
ALTER TABLE outbox_body DROP CONSTRAINT outbox_body_id_fkey;
