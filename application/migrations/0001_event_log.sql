-- The event log of 0.1.0: its rows, and the one row that says where it ends.

CREATE SCHEMA IF NOT EXISTS log;

CREATE TABLE IF NOT EXISTS log.events (
    position    bigint      PRIMARY KEY,
    stream_id   uuid        NOT NULL,
    version     bigint      NOT NULL,
    name        text        NOT NULL,
    body        bytea       NOT NULL,
    recorded_at timestamptz NOT NULL,
    hash        bytea       NOT NULL,
    UNIQUE (stream_id, version)
);
ALTER TABLE log.events ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE IF NOT EXISTS log.head (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint  NOT NULL,
    hash     bytea   NOT NULL
) WITH (fillfactor = 10);
INSERT INTO log.head SELECT true, 0, '\x' WHERE NOT EXISTS (SELECT FROM log.head);
