"""Why `routines up` and its Postgres cannot start."""


class CannotStart(Exception):
    """Something keeps the system from starting; the message says what, and what to do about it."""


class PostgresUnavailable(CannotStart):
    """The embedded Postgres cannot be had or started; the message says what to do about it."""
