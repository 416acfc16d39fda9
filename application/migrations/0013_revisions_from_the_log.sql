-- Revisions are folded from the log when they are read: their read model goes, with its tables.

SET LOCAL ROLE routines_service;

-- The position first: an older projector, which may still run, takes it before the tables, and leaves a model alone that has none.
DELETE FROM read_models.positions WHERE name = 'revisions';
DROP TABLE IF EXISTS read_models.revision, read_models.routine_state;
DELETE FROM read_models.isolated_events WHERE read_model = 'revisions';
DROP SCHEMA IF EXISTS rebuilding_revisions, verifying_revisions CASCADE;
