-- The Merkle trees of the log: one of all events, and one of each company's. They are folded from the log and can be again.

SET LOCAL ROLE routines_service;

CREATE TABLE IF NOT EXISTS read_models.log_tree (
    id          uuid   PRIMARY KEY,           -- of the company; nothing but zeros: of the whole log
    size        bigint NOT NULL DEFAULT 0,    -- how many leaves it has; of the whole log, up to which position it is folded
    frontier    bytea  NOT NULL DEFAULT '',   -- the roots of the perfect subtrees that it consists of, the largest first
    signed_size bigint NOT NULL DEFAULT 0,    -- the size of the checkpoint
    checkpoint  text,                         -- the newest one, signed
    verifier_key text,                        -- of the key that has signed it, for verifiers
    refusal     text                          -- of the whole log: why nothing is signed; NULL when all is well
) WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS read_models.log_checkpoint_request (  -- of somebody who waits for a checkpoint of at least this size
    tree_id uuid   PRIMARY KEY,
    size    bigint NOT NULL
);

CREATE TABLE IF NOT EXISTS read_models.log_leaf (
    position   bigint PRIMARY KEY,  -- from 1: the place in the tree of the whole log is one less
    company_id uuid,
    place      bigint,              -- in the tree of its company, from 0
    hash       bytea NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS log_leaf_of_company ON read_models.log_leaf (company_id, place) WHERE company_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS read_models.log_node (  -- of the tiles (C2SP tlog-tiles) above the leaves
    tree_id uuid     NOT NULL,
    level   smallint NOT NULL,
    place   bigint   NOT NULL,
    hash    bytea    NOT NULL,
    PRIMARY KEY (tree_id, level, place)
);

GRANT USAGE ON SCHEMA read_models TO routines_auditor;
GRANT SELECT ON read_models.log_tree, read_models.log_leaf, read_models.log_node TO routines_auditor;
