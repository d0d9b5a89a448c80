-- A market has two sides of its own: towards a prosumer's app, and towards its grid operator. Only
-- what CHECK says changes, so the tables are not copied: SQLite's own way to lift a constraint.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(
    sql,
    'CHECK (side = ''bap'' OR side = ''bpp'' OR side = ''grid_operator'')',
    'CHECK (side = ''bap'' OR side = ''bpp'' OR side = ''grid_operator'' OR side = ''market'' OR side = ''market_session'')'
)
WHERE type = 'table' AND name IN ('trade', 'asked', 'outbox');
-- Whatever is created raises the schema's version, by which other connections notice.
CREATE TABLE schema_changed (number INTEGER) STRICT;
DROP TABLE schema_changed;
PRAGMA writable_schema = RESET;
