"""Why `routines up` and its Postgres cannot start."""


class CannotStart(Exception):
    """Something is in the way; the message says what, and what to do about it"""


class PostgresUnavailable(CannotStart):
    """There is no Postgres to be had here; the message says what to do about it"""
