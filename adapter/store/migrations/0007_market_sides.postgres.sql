-- A market has two sides of its own: towards a prosumer's app, and towards its grid operator.
ALTER TABLE trade DROP CONSTRAINT trade_side_check,
    ADD CHECK (side = 'bap' OR side = 'bpp' OR side = 'grid_operator' OR side = 'market' OR side = 'market_session');
ALTER TABLE asked DROP CONSTRAINT asked_side_check,
    ADD CHECK (side = 'bap' OR side = 'bpp' OR side = 'grid_operator' OR side = 'market' OR side = 'market_session');
ALTER TABLE outbox DROP CONSTRAINT outbox_side_check,
    ADD CHECK (side = 'bap' OR side = 'bpp' OR side = 'grid_operator' OR side = 'market' OR side = 'market_session');
