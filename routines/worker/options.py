"""Checks the options of the commands that are clients of the API, and computes a default."""

import os
import tempfile
from pathlib import Path

import click
import httpx

from domain.jetty.environment import NAME


def checked_url(_context: click.Context, _parameter: click.Parameter, url: str | None) -> str | None:
    """Return the URL without a slash at its end. Raises BadParameter unless it is one of HTTP."""
    try:
        sound = url is None or (httpx.URL(url).scheme in ("http", "https") and bool(httpx.URL(url).host))
    except httpx.InvalidURL:
        sound = False
    if not sound:
        raise click.BadParameter("an address looks like http://127.0.0.1:3100")
    return url.rstrip("/") if url else None


def checked_token(_context: click.Context, _parameter: click.Parameter, token: str | None) -> str | None:
    """Return the token without blanks and line breaks around it. Raises BadParameter unless it is one word."""
    text = (token or "").strip()
    if token is not None and not (text and text.isascii() and text.isprintable() and " " not in text):
        raise click.BadParameter("a token is one word, like pcp_...")
    return text or None


def checked_names(_context: click.Context, _parameter: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names. Raises BadParameter unless each is the name of a variable."""
    if bad_names := [name for name in names if not NAME.fullmatch(name)]:
        raise click.BadParameter(f"{bad_names[0]!r} is not the name of a variable")
    return names


def state_home() -> Path:
    """Return the directory for claims: in XDG_STATE_HOME, ~/.local/state or, without a home, the temporary one."""
    directory = os.environ.get("XDG_STATE_HOME")
    try:
        home = Path(directory) if directory else Path.home() / ".local/state"
    except RuntimeError:  # a user without a home
        home = Path(tempfile.gettempdir()) / f"state-{os.getuid()}"
    return home / "routines/worker"
