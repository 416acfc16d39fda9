-- Up to which event the rows that are over have left the hot tables of a read model (docs/operate.md, "Old rows").

SET LOCAL ROLE routines_service;

ALTER TABLE read_models.positions ADD COLUMN IF NOT EXISTS cold_to bigint NOT NULL DEFAULT 0;
