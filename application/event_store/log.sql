-- The functions and triggers of the log, and the rights to use log and vault. Its owner runs this file under an advisory lock whenever
-- the file has changed, or a restore has lost what it gives; migrations/ creates and alters the tables.
-- Events are written through log.append only (log.append_each calls it), which alone has the right to; the triggers refuse changes even by the owner.

-- Returns the hash of a row: SHA-256 over fixed-width or length-prefixed fields, so that no two rows give the same input.
-- A row without `recorded_by` has the hash that it had before that column existed.
-- It is STABLE because the functions that it calls are. Otherwise Postgres would not inline it, and the call alone would take
-- as long as the hash.
DROP FUNCTION IF EXISTS log.hash_of(bytea, bigint, uuid, bigint, text, bytea, timestamptz);
CREATE OR REPLACE FUNCTION log.hash_of(
    previous bytea, place bigint, stream_id uuid, version bigint, name text, body bytea, recorded_at timestamptz,
    recorded_by text
) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT sha256(
        previous || int8send(place) || uuid_send(stream_id) || int8send(version)
        || int4send(octet_length(name)) || convert_to(name, 'UTF8') || sha256(body)
        || int8send((extract(epoch FROM recorded_at) * 1000000)::bigint)
        || coalesce(int4send(octet_length(recorded_by)) || convert_to(recorded_by, 'UTF8'), ''))
$$;

-- Only log.append calls the functions up to it, and it sets the search path.

-- Returns the JSON of a body. When a field occurs twice the last one counts, here as in the programs that read events.
-- NUL, which the type does not accept, becomes another control character.
CREATE OR REPLACE FUNCTION log.json_of(body bytea) RETURNS json LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT replace(convert_from(body, 'UTF8'), '\u0000', '\u0001')::json
$$;

-- Refuses events whose writer says that they were decided at another time than now. The time is the first field of a body.
-- The whole body is parsed only where a second such field could follow (one of that name, or one spelt with escapes).
CREATE OR REPLACE FUNCTION log.check_clock(bodies bytea[], bound interval) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    now_at   timestamptz := clock_timestamp();
    body     bytea;
    claim    text;
    accepted bytea;  -- the beginning of the body before: events that were decided together begin alike
BEGIN
    FOREACH body IN ARRAY bodies LOOP
        IF position('"at"'::bytea IN substr(body, 7)) = 0 AND position('\x5c7530'::bytea IN body) = 0 THEN
            CONTINUE WHEN substr(body, 1, 36) = accepted;
            accepted := substr(body, 1, 36);
            claim := encode(accepted, 'escape');
        ELSE
            claim := '{"at":"' || (log.json_of(body) ->> 'at') || '"';
        END IF;
        IF claim ~ '^\{"at":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z"' THEN
            CONTINUE WHEN split_part(claim, '"', 4)::timestamptz BETWEEN now_at - bound AND now_at + bound;
        END IF;
        RAISE EXCEPTION 'an event that begins % is to be recorded at %', coalesce(claim, 'without a time'), now_at
            USING ERRCODE = 'datetime_field_overflow';
    END LOOP;
END $$;

-- Refuses grants (of being a user, a member or the holder of a key) that do not follow from what their decision has read.
-- `evidence` holds the streams that it has read or written; events up to the position `last` were recorded before.
CREATE OR REPLACE FUNCTION log.check_grants(evidence uuid[], last bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    first_user CONSTANT uuid := '6d5d5fce-0396-5771-a90e-ef59d0efb034';  -- domain/identity.py
    given       record;
    granter     uuid;
    holder      uuid;     -- the user whose key is issued
    is_new      boolean;  -- the user or holder is registered in this batch
    is_admitted boolean;  -- the granter has a valid key
    is_admin    boolean;  -- the granter is an admin of the instance
    standing    text;     -- the role of the granter in the company
BEGIN
    FOR given IN
        SELECT e.stream_id, e.version, e.name, c.* FROM log.events e
        CROSS JOIN json_to_record(log.json_of(e.body)) c(at timestamptz, actor text, company_id uuid, event json)
        WHERE e.position > last AND e.name IN ('user.registered', 'member.joined', 'member.changed', 'key.issued')
    LOOP
        granter := substring(given.actor FROM '^user:([0-9a-f-]{36})$')::uuid;
        holder := (given.event ->> 'user_id')::uuid;
        is_new := EXISTS (SELECT FROM log.events e WHERE e.position > last AND e.version = 1 AND e.name = 'user.registered'
                          AND e.stream_id = CASE given.name WHEN 'key.issued' THEN holder ELSE given.stream_id END);
        -- Nobody is there to admit the first user of an installation.
        CONTINUE WHEN is_new AND given.version = 1 AND first_user = CASE given.name WHEN 'key.issued' THEN holder ELSE given.stream_id END;

        is_admitted := EXISTS (
            SELECT FROM log.events e CROSS JOIN log.json_of(e.body) j(body)
            WHERE e.stream_id = ANY (evidence) AND e.position <= last AND e.name = 'key.issued'
            AND (j.body -> 'event' ->> 'user_id')::uuid = granter
            AND coalesce((j.body -> 'event' ->> 'expires_at')::timestamptz > given.at, true)
            AND NOT EXISTS (SELECT FROM log.events r WHERE r.position <= last AND (
                -- A session ends with the key that it rests on, and when its user signs out everywhere.
                r.name = 'key.revoked' AND r.stream_id IN (
                    e.stream_id, (j.body -> 'event' -> 'session' ->> 'rests_on')::uuid)
                OR r.name = 'user.signed_out' AND r.stream_id = granter
                    AND r.version > (j.body -> 'event' -> 'session' ->> 'user_version')::bigint)));
        is_admin := EXISTS (
            SELECT FROM log.events e WHERE e.stream_id = granter AND e.version = 1 AND e.name = 'user.registered'
            AND (log.json_of(e.body) -> 'event' ->> 'instance_admin')::boolean);
        standing := CASE WHEN is_admin THEN 'owner' END;
        IF NOT is_admin THEN
            SELECT log.json_of(m.body) -> 'event' ->> 'role' INTO standing
                FROM log.events e CROSS JOIN log.json_of(e.body) j(body) JOIN log.events m USING (stream_id)
                WHERE e.stream_id = ANY (evidence) AND e.version = 1 AND e.name = 'member.joined'
                AND (j.body -> 'event' ->> 'user_id')::uuid = granter
                AND (j.body ->> 'company_id')::uuid = given.company_id
                AND m.position <= last ORDER BY m.version DESC LIMIT 1;
        END IF;

        IF is_admitted AND (given.version = 1 OR given.name LIKE 'member.%') THEN
            CASE given.name
            WHEN 'user.registered' THEN
                CONTINUE WHEN NOT coalesce((given.event ->> 'instance_admin')::boolean, false)
                          AND NOT coalesce((given.event ->> 'instance_auditor')::boolean, false);
            WHEN 'key.issued' THEN
                IF holder IS NOT NULL THEN
                    CONTINUE WHEN holder = granter OR is_new OR is_admin;
                ELSIF (given.event ->> 'collection_id')::uuid = given.company_id OR EXISTS (
                    SELECT FROM log.events e WHERE e.stream_id = (given.event ->> 'agent_id')::uuid AND e.version = 1
                    AND (log.json_of(e.body) ->> 'company_id')::uuid = given.company_id
                ) THEN
                    CONTINUE WHEN standing IN ('owner', 'admin', 'member');
                END IF;
            ELSE
                CONTINUE WHEN standing = 'owner' OR (standing = 'admin' AND given.event ->> 'role' <> 'owner');
            END CASE;
        END IF;
        RAISE EXCEPTION 'a % by % does not follow from what the log holds', given.name, left(given.actor, 60)
            USING ERRCODE = 'insufficient_privilege';
    END LOOP;
END $$;

-- Returns whether events of these names may give somebody a right, see log.check_grants.
CREATE OR REPLACE FUNCTION log.has_grants(names text[]) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT names && ARRAY['user.registered', 'member.joined', 'member.changed', 'key.issued']
$$;

-- Appends one batch, all of it or nothing, and returns the position of its last event.
-- The function notes when and by which login it was recorded; the bodies say when and by whom it was decided.
-- The streams `guard_streams` must still have the versions `guard_versions`, so that a decision rests on their newest state.
CREATE OR REPLACE FUNCTION log.append(
    streams uuid[], versions bigint[], names text[], bodies bytea[], guard_streams uuid[], guard_versions bigint[]
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off AS $$
DECLARE
    last   bigint;
    chain  bytea;
    now_at timestamptz;
    hashes bytea[] := '{}';
    many   int := cardinality(streams);
    bound  interval := (SELECT r.max_clock_difference FROM log.rules r);
BEGIN
    IF bound IS NOT NULL THEN
        PERFORM log.check_clock(bodies, bound);  -- before the lock, so that other writers do not wait for it
    END IF;
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
        chain := log.hash_of(chain, last + i, streams[i], versions[i], names[i], bodies[i], now_at, session_user);
        hashes[i] := chain;
    END LOOP;
    INSERT INTO log.events
        SELECT last + n, id, version, name, body, now_at, hash, session_user
        FROM unnest(streams, versions, names, bodies, hashes) WITH ORDINALITY AS b(id, version, name, body, hash, n);
    IF log.has_grants(names) AND NOT pg_has_role(session_user, 'routines_owner', 'MEMBER') THEN
        PERFORM log.check_grants(guard_streams || streams, last);
    END IF;
    UPDATE log.head SET position = last + many, hash = chain;
    NOTIFY routines_log;  -- without a payload, so that Postgres sends one for all batches of a transaction
    RETURN last + many;
END $$;

-- Appends several batches, each of them whole or not at all, whatever becomes of the others; each is judged by log.append.
-- The arrays are those of log.append, one batch after the other: the next `batch_sizes[n]` events and `guard_sizes[n]` guards
-- are those of batch n. Returns a row for each batch, in their order: the position of its last event, or why it was refused.
-- Batches that do not concern each other are first given to log.append as one, which takes a quarter of the time. Only if that
-- is refused is each judged by itself. They concern each other where one writes what another has read, and where one grants
-- something, since a grant must follow from what its own decision has read.
CREATE OR REPLACE FUNCTION log.append_each(
    streams uuid[], versions bigint[], names text[], bodies bytea[], guard_streams uuid[], guard_versions bigint[],
    batch_sizes int[], guard_sizes int[]
) RETURNS TABLE (reached bigint, sqlstate_of_refusal text, reason text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    e int := 0;  -- the events and the guards of the batches before
    g int := 0;
    e_end int;
    g_end int;
BEGIN
    IF cardinality(batch_sizes) > 1 AND NOT log.has_grants(names)
    AND NOT EXISTS (SELECT FROM unnest(streams) s(id) JOIN unnest(guard_streams) g(id) USING (id)) THEN
        BEGIN
            reached := log.append(streams, versions, names, bodies, guard_streams, guard_versions) - cardinality(streams);
            FOR n IN 1..cardinality(batch_sizes) LOOP
                reached := reached + batch_sizes[n];
                RETURN NEXT;
            END LOOP;
            RETURN;
        EXCEPTION WHEN integrity_constraint_violation OR data_exception OR insufficient_privilege THEN
            NULL;  -- one of them is refused, the next lines tell which
        END;
    END IF;
    FOR n IN 1..cardinality(batch_sizes) LOOP
        e_end := e + batch_sizes[n];
        g_end := g + guard_sizes[n];
        BEGIN
            reached := log.append(
                streams[e + 1:e_end], versions[e + 1:e_end], names[e + 1:e_end], bodies[e + 1:e_end],
                guard_streams[g + 1:g_end], guard_versions[g + 1:g_end]);
            sqlstate_of_refusal := NULL;
            reason := NULL;
        EXCEPTION WHEN integrity_constraint_violation OR data_exception OR insufficient_privilege THEN
            reached := NULL;
            sqlstate_of_refusal := SQLSTATE;
            reason := SQLERRM;
        END;
        RETURN NEXT;
        e := e_end;
        g := g_end;
    END LOOP;
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

-- Versions before 0.2.0 do not check which version wrote the database: their `init` would replace these functions by old ones.
-- It also inserts the head row, without effect where there is one. This trigger refuses that insert, with a message that
-- `init` shows.
CREATE OR REPLACE FUNCTION log.refuse_older_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'this database was upgraded to Routines 0.2.0 or later: install that version, or restore the copy that was'
        ' made before the upgrade (docs/upgrading.md)' USING ERRCODE = 'object_not_in_prerequisite_state';
END $$;
CREATE OR REPLACE TRIGGER upgraded BEFORE INSERT ON log.head
    FOR EACH ROW EXECUTE FUNCTION log.refuse_older_version();
COMMENT ON SCHEMA log IS 'The event log of Routines; log.migrations says which version it is of';

REVOKE ALL ON FUNCTION log.append, log.append_each, log.check_clock, log.check_grants, log.has_grants, log.hash_of, log.json_of,
    log.refuse, log.only_forward, log.refuse_older_version FROM PUBLIC;
GRANT USAGE ON SCHEMA log TO routines_service, routines_auditor;
GRANT SELECT ON log.events, log.head, log.rules TO routines_service, routines_auditor;
GRANT EXECUTE ON FUNCTION log.append, log.append_each TO routines_service;
GRANT USAGE ON SCHEMA vault TO routines_service, routines_auditor;
GRANT SELECT, INSERT, UPDATE, DELETE ON vault.secrets TO routines_service;
-- Only the owner destroys a data key: whoever has stolen the service's login can make nothing unreadable.
DO $$ BEGIN
    IF to_regclass('vault.data_keys') IS NOT NULL THEN
        GRANT SELECT, INSERT (subject_id, key) ON vault.data_keys TO routines_service;
        GRANT SELECT ON vault.data_keys TO routines_auditor;
    END IF;
END $$;
