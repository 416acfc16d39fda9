-- Secrets at rest: encrypted under a key that is not in the database, or only their SHA-256. The service's alone.
-- What a record of an id opens to never changes; its key and content do when it is encrypted anew.

CREATE SCHEMA IF NOT EXISTS vault;

CREATE TABLE IF NOT EXISTS vault.secrets (
    id         uuid        PRIMARY KEY,
    company_id uuid        NOT NULL,
    owner_id   uuid        NOT NULL,
    purpose    text        NOT NULL,
    key_id     text,                 -- NULL: the content is a SHA-256
    content    bytea       NOT NULL, -- otherwise 12 bytes of nonce, then AES-256-GCM
    kept_at    timestamptz NOT NULL DEFAULT now(),
    CHECK (CASE WHEN key_id IS NULL THEN octet_length(content) = 32 ELSE octet_length(content) >= 28 END)
);
CREATE INDEX IF NOT EXISTS secrets_by_key ON vault.secrets (key_id) WHERE key_id IS NOT NULL;

GRANT USAGE ON SCHEMA vault TO routines_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON vault.secrets TO routines_service;
