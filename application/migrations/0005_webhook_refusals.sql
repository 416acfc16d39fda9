-- The last refused call of each webhook. It follows from no event: strangers must not be able to fill the log.

SET LOCAL ROLE routines_service;

CREATE TABLE IF NOT EXISTS read_models.webhook_refusals (
    trigger_id uuid        PRIMARY KEY,
    at         timestamptz NOT NULL,
    status     smallint    NOT NULL,  -- of the answer
    reason     text        NOT NULL,
    sender     text        NOT NULL   -- an address, or the /64 of an IPv6 one
) WITH (fillfactor = 50);
