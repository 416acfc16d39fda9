-- Which rows those of a read model are: others after each rebuild. Whoever keeps documents in memory sees by it that they may be old.

SET LOCAL ROLE routines_service;

ALTER TABLE read_models.positions ADD COLUMN IF NOT EXISTS made uuid NOT NULL DEFAULT gen_random_uuid();
