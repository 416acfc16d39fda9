-- The roles and the database of Routines, for a superuser of Postgres (or whoever may create roles and databases). It may be
-- run again: what is there stays, and the two passwords are set. psql takes them from its environment, where other accounts
-- cannot read them:
--
--     ADMIN_PASSWORD=... PARTS_PASSWORD=... psql --dbname postgres --file deploy/postgres/roles.sql

\set ON_ERROR_STOP on
SET client_min_messages = warning;  -- no notices of what is there already
\getenv admin_password ADMIN_PASSWORD
\getenv parts_password PARTS_PASSWORD

SELECT format('CREATE ROLE %I %s', name, kind) FROM (VALUES
    ('routines_owner',   'NOLOGIN'),          -- owns the log
    ('routines_service', 'LOGIN'),            -- what the processes may do; has no password, so nobody logs in as it
    ('routines_auditor', 'LOGIN'),            -- may read the log; give it a password when there is an auditor
    ('routines_analyst', 'LOGIN'),            -- may read the views of the schema analytics; likewise
    ('routines_admin',   'LOGIN CREATEROLE'), -- for `routines init` and `routines board-key`
    ('routines_parts',   'LOGIN')             -- for the processes; more of these tell in the log which process wrote
) AS r(name, kind) WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec

ALTER ROLE routines_admin PASSWORD :'admin_password';
ALTER ROLE routines_parts PASSWORD :'parts_password';
GRANT routines_owner, routines_service, routines_auditor TO routines_admin WITH ADMIN OPTION;
GRANT routines_service TO routines_parts;

SELECT $$CREATE DATABASE routines OWNER routines_admin ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0$$
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'routines') \gexec
REVOKE CONNECT, TEMPORARY ON DATABASE routines FROM PUBLIC;
GRANT CONNECT ON DATABASE routines TO routines_admin, routines_service, routines_auditor, routines_analyst;
GRANT CREATE ON DATABASE routines TO routines_owner, routines_service;
