-- How far each read model has come, which events it has passed over, and what becomes of it at an upgrade.

SET LOCAL ROLE routines_service;

CREATE SCHEMA IF NOT EXISTS read_models;

CREATE TABLE IF NOT EXISTS read_models.positions (
    name     text   PRIMARY KEY,
    position bigint NOT NULL DEFAULT 0,
    shape    text   NOT NULL,  -- by which tables and which version of the fold its rows were made
    moved_at timestamptz NOT NULL DEFAULT now(),
    stopped  text   -- why it can go no further; NULL when all is well
) WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS read_models.isolated_events (
    read_model  text   NOT NULL,
    position    bigint NOT NULL,
    name        text   NOT NULL,
    stream_id   uuid   NOT NULL,
    version     bigint NOT NULL,
    company_id  uuid,  -- NULL when the event cannot be read
    reason      text   NOT NULL,
    isolated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (read_model, position)
);

ALTER TABLE read_models.positions
    ADD COLUMN IF NOT EXISTS wanted     text,    -- the shape that the installed version asks for; another: outdated
    ADD COLUMN IF NOT EXISTS rebuilt_to bigint;  -- how far its rebuild has come; NULL when there is none
