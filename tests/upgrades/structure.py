"""What migrations make: to compare a database that was upgraded with a new one."""

import psycopg


def structure(url):
    """All that a migration could have made or altered, but for what read models keep."""
    queries = (
        (
            "SELECT table_schema, table_name, column_name, data_type, is_nullable, column_default"
            " FROM information_schema.columns WHERE table_schema IN ('log', 'vault')"
            " OR table_name IN ('positions', 'isolated_events')"
        ),
        "SELECT indexdef FROM pg_indexes WHERE schemaname IN ('log', 'vault')",
        (
            "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE connamespace IN ('log'::regnamespace, 'vault'::regnamespace)"
        ),
        (
            "SELECT tgrelid::regclass::text, tgname, tgenabled::text, pg_get_triggerdef(oid) FROM pg_trigger"
            " WHERE NOT tgisinternal"
        ),
        (
            "SELECT oid::regprocedure::text, md5(prosrc), prosecdef, proconfig::text, proacl::text FROM pg_proc"
            " WHERE pronamespace = 'log'::regnamespace"
        ),
        (
            "SELECT oid::regclass::text, relowner::regrole::text, relacl::text, reloptions::text FROM pg_class"
            " WHERE relkind IN ('r', 'i') AND relnamespace IN ('log'::regnamespace, 'vault'::regnamespace)"
        ),
        "SELECT number, name, sha256 FROM log.migrations",
    )
    with psycopg.connect(url, autocommit=True) as conn:
        return [sorted(map(repr, conn.execute(query).fetchall())) for query in queries]
