-- Attempts that were refused for want of a credential or a right. They follow from no event: strangers must not be able to
-- fill the log. Attempts of an hour that are alike are one row.

SET LOCAL ROLE routines_service;

CREATE TABLE IF NOT EXISTS read_models.refused_attempts (
    position  bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hour      timestamptz NOT NULL,
    status    smallint    NOT NULL,  -- of the answer
    operation text        NOT NULL,
    reason    text        NOT NULL,
    network   text        NOT NULL,  -- an address, or the /64 of an IPv6 one; empty: of several
    key_id    text        NOT NULL,  -- of a key of the form of ours, whether there is one or not; else empty
    tenant    text        NOT NULL,  -- the company of the key, or the user for an admin of the instance, where it was known
    attempts  bigint      NOT NULL,
    first_at  timestamptz NOT NULL,
    last_at   timestamptz NOT NULL,
    UNIQUE (hour, status, operation, reason, network, key_id)
);
