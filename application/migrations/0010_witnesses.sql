-- The witnesses that cosign checkpoints of the whole log: what each has cosigned last, and since when it has not.

SET LOCAL ROLE routines_service;

CREATE TABLE IF NOT EXISTS read_models.log_witness (
    verifier_key text        PRIMARY KEY,  -- of the witness
    log_key      text,                     -- the verifier key of the log whose checkpoint it has cosigned last
    size         bigint      NOT NULL DEFAULT 0,  -- of that checkpoint
    checkpoint   text,                     -- that checkpoint, as the log has signed it
    line         text,                     -- the cosignature
    attempts     integer     NOT NULL DEFAULT 0,  -- that have failed since
    behind_since timestamptz,              -- when the first of them failed; NULL while it keeps up
    reason       text,                     -- why the last of them failed
    next_at      timestamptz               -- when it is asked again
);

GRANT SELECT ON read_models.log_witness TO routines_auditor;
