"""What breaks every process for mutation_check.py: it takes whatever session it gets, and keeps it whatever comes of it."""

from typing import Any

import psycopg

from routines.connections import Profile, Session

parameters = Profile.parameters


def install() -> None:
    """Change the connections of this process."""
    Profile.parameters = _parameters_of_any  # type: ignore[method-assign,assignment]
    Session.verify = lambda _session: None  # type: ignore[method-assign,assignment]
    Session.__exit__ = psycopg.Connection.__exit__  # type: ignore[method-assign]


def _parameters_of_any(profile: Profile, url: str) -> dict[str, Any]:
    return parameters(profile, url) | {"target_session_attrs": "any"}
