-- What the commands of runs print, as it comes. It is kept for some days only, so it is no part of the log of events.

SET LOCAL ROLE routines_service;

CREATE TABLE IF NOT EXISTS read_models.run_log (
    position   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id     uuid        NOT NULL,
    company_id uuid        NOT NULL,
    session_id uuid        NOT NULL,  -- the work session that wrote it
    part       integer     NOT NULL,  -- its number in the session; -1: the mark that the rest is not kept
    at         timestamptz NOT NULL,
    bytes      integer     NOT NULL,
    output     json        NOT NULL,
    UNIQUE (run_id, session_id, part)
);
CREATE INDEX IF NOT EXISTS run_log_of_run ON read_models.run_log (run_id, position);
CREATE INDEX IF NOT EXISTS run_log_by_age ON read_models.run_log (at);

CREATE TABLE IF NOT EXISTS read_models.run_log_size (
    company_id uuid   PRIMARY KEY,
    bytes      bigint NOT NULL        -- of all parts in run_log
) WITH (fillfactor = 50);
