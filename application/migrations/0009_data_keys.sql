-- The key of each company and each user, under which the log keeps what can be erased. Without it that is lost for good.

CREATE TABLE IF NOT EXISTS vault.data_keys (
    subject_id uuid        PRIMARY KEY,   -- of the company or the user
    key        bytea,                     -- NULL: it was destroyed
    made_at    timestamptz NOT NULL DEFAULT now(),
    erased_at  timestamptz,               -- when it was destroyed
    cleared_at timestamptz,               -- when the read models had been made anew without what it opened
    CHECK (CASE WHEN key IS NULL THEN erased_at IS NOT NULL ELSE octet_length(key) = 32 AND erased_at IS NULL END)
);
CREATE INDEX IF NOT EXISTS data_keys_erased ON vault.data_keys (erased_at) WHERE erased_at IS NOT NULL;
