-- The event log: append-only, gap-free, hash-chained. Run by its owner, once, under an advisory lock.
-- Nobody writes but through log.append, which alone has the right; the triggers refuse even the owner.

CREATE SCHEMA IF NOT EXISTS log;

CREATE TABLE IF NOT EXISTS log.events (
    position    bigint      PRIMARY KEY,
    stream_id   uuid        NOT NULL,
    version     bigint      NOT NULL,
    name        text        NOT NULL,
    body        bytea       NOT NULL,
    recorded_at timestamptz NOT NULL,
    hash        bytea       NOT NULL,
    UNIQUE (stream_id, version)
);
ALTER TABLE log.events ALTER COLUMN body SET STORAGE EXTERNAL;

CREATE TABLE IF NOT EXISTS log.head (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    position bigint  NOT NULL,
    hash     bytea   NOT NULL
) WITH (fillfactor = 10);
INSERT INTO log.head VALUES (true, 0, '\x') ON CONFLICT DO NOTHING;

-- The hash of a row: SHA-256 over fixed-width or length-prefixed fields, so that none can slide into the next.
CREATE OR REPLACE FUNCTION log.hash_of(
    previous bytea, place bigint, stream_id uuid, version bigint, name text, body bytea, recorded_at timestamptz
) RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT sha256(
        previous || int8send(place) || uuid_send(stream_id) || int8send(version)
        || int4send(octet_length(name)) || convert_to(name, 'UTF8') || sha256(body)
        || int8send((extract(epoch FROM recorded_at) * 1000000)::bigint))
$$;

-- Appends one batch: all of it or nothing. Returns the position of its last event.
-- `guard_streams` must still be at `guard_versions`: what a decision read, it read whole.
CREATE OR REPLACE FUNCTION log.append(
    streams uuid[], versions bigint[], names text[], bodies bytea[], guard_streams uuid[], guard_versions bigint[]
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    last   bigint;
    chain  bytea;
    now_at timestamptz;
    hashes bytea[] := '{}';
    many   int := cardinality(streams);
BEGIN
    SELECT h.position, h.hash INTO last, chain FROM log.head h FOR UPDATE;
    IF EXISTS (SELECT FROM unnest(guard_streams, guard_versions) g(id, version)
               JOIN log.events e ON e.stream_id = g.id AND e.version = g.version + 1) THEN
        RAISE EXCEPTION 'a stream that was read has changed' USING ERRCODE = 'unique_violation';
    END IF;
    IF EXISTS (SELECT FROM (SELECT id, min(version) AS first, max(version) AS final, count(*) AS many
                            FROM unnest(streams, versions) s(id, version) GROUP BY id) s
               WHERE s.final - s.first + 1 <> s.many OR s.first < 1 OR (s.first > 1 AND NOT EXISTS (
                   SELECT FROM log.events e WHERE e.stream_id = s.id AND e.version = s.first - 1))) THEN
        RAISE EXCEPTION 'a stream would get a gap' USING ERRCODE = 'unique_violation';
    END IF;
    now_at := clock_timestamp();
    FOR i IN 1..many LOOP
        chain := log.hash_of(chain, last + i, streams[i], versions[i], names[i], bodies[i], now_at);
        hashes[i] := chain;
    END LOOP;
    INSERT INTO log.events
        SELECT last + n, id, version, name, body, now_at, hash
        FROM unnest(streams, versions, names, bodies, hashes) WITH ORDINALITY AS b(id, version, name, body, hash, n);
    UPDATE log.head SET position = last + many, hash = chain;
    PERFORM pg_notify('routines_log', (last + many)::text);
    RETURN last + many;
END $$;

CREATE OR REPLACE FUNCTION log.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the event log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE OR REPLACE FUNCTION log.only_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.position > old.position THEN RETURN new; END IF;
    RAISE EXCEPTION 'the head of the log only moves forward' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE OR REPLACE TRIGGER unchanged BEFORE UPDATE OR DELETE OR TRUNCATE ON log.events
    FOR EACH STATEMENT EXECUTE FUNCTION log.refuse();
CREATE OR REPLACE TRIGGER kept BEFORE DELETE OR TRUNCATE ON log.head
    FOR EACH STATEMENT EXECUTE FUNCTION log.refuse();
CREATE OR REPLACE TRIGGER forward BEFORE UPDATE ON log.head
    FOR EACH ROW EXECUTE FUNCTION log.only_forward();
ALTER TABLE log.events ENABLE ALWAYS TRIGGER unchanged;
ALTER TABLE log.head ENABLE ALWAYS TRIGGER kept;
ALTER TABLE log.head ENABLE ALWAYS TRIGGER forward;

REVOKE ALL ON FUNCTION log.append, log.hash_of, log.refuse, log.only_forward FROM PUBLIC;
GRANT USAGE ON SCHEMA log TO routines_service, routines_auditor;
GRANT SELECT ON log.events, log.head TO routines_service, routines_auditor;
GRANT EXECUTE ON FUNCTION log.append TO routines_service;
