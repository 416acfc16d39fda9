"""Everything that can be set, read once at start from ROUTINES_* variables."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

import msgspec
import psycopg
from msgspec import Meta
from msgspec.structs import replace
from psycopg.conninfo import conninfo_to_dict

from domain.bounds import limits
from domain.bounds.limits import Limits

Network = IPv4Network | IPv6Network

PREFIX = "ROUTINES_"
BASE_URL = re.compile(r"https?://([\w.-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?(/[\w.~%-]+)*/?", re.ASCII)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Each field is the variable ROUTINES_<FIELD>, and so is each field of the limits."""

    database_url: Annotated[str, Meta(min_length=1)]
    threads: Annotated[int, Meta(ge=2, le=200)] = 16  # requests of one web process that work at the same time
    connections: Annotated[int, Meta(ge=2, le=200)] = 10  # of one process to Postgres
    patience_s: Annotated[float, Meta(gt=0, le=60)] = 5.0  # how long a read waits for its read model
    batch: Annotated[int, Meta(ge=1, le=1_000)] = 200  # schedules that one transaction fires
    key_file: Annotated[str, Meta(min_length=1)] | None = (
        None  # the keys of the secrets (application/secrets/key_ring.py)
    )
    public_url: str | None = None  # what the URLs of webhooks begin with: a host, perhaps a path, no slash at its end
    webhook_rate: Annotated[int, Meta(ge=0)] = 600  # calls a minute that a webhook takes of one sender; 0: no limit
    allow_private_targets: bool = False  # whether what we send may go to addresses that are not public
    trusted_proxies: str | None = None  # addresses and networks, comma-separated, whose X-Forwarded-For is believed
    log_level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$")] = "info"
    limits: Limits = limits.DEFAULT

    @property
    def proxies(self) -> tuple[Network, ...]:
        """The networks of the trusted proxies."""
        return _proxies(self.trusted_proxies)

    def __repr__(self) -> str:
        return "Settings(***)"  # the address of the database holds its password

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


def has_jetty_routines(env: Mapping[str, str]) -> bool:
    """ENABLE_ROUTINES, as Jetty calls it; `true` unless it is set to something else (Jetty contract 1)."""
    return env.get("ENABLE_ROUTINES", "true").strip().lower() in ("true", "1")


class BadSetting(Exception):
    """A ROUTINES_ variable is missing or wrong; the message names it."""


def from_env(env: Mapping[str, str]) -> Settings:
    """Raises BadSetting."""
    found = _given(env, Settings)
    if not found.get("database_url"):
        raise BadSetting(f"{PREFIX}DATABASE_URL is not set: which Postgres is it?")
    bounds = _given(env, Limits)
    try:
        settings = msgspec.convert({**found, "limits": bounds}, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise BadSetting(f"{_variable(str(error), {*found, *bounds})}: {error}") from error
    try:
        host = conninfo_to_dict(settings.database_url).get("host")
    except psycopg.ProgrammingError:
        raise BadSetting(f"{PREFIX}DATABASE_URL is not the URL of a Postgres database") from None  # quotes the password
    if "@" in str(host):  # an unescaped password ends in it, and would be told as a host that is not found
        raise BadSetting(f"{PREFIX}DATABASE_URL has more than one @: write the one in the password as %40")
    if settings.public_url is not None and not BASE_URL.fullmatch(settings.public_url):
        raise BadSetting(f"{PREFIX}PUBLIC_URL is not an address like https://routines.example.org")
    _proxies(settings.trusted_proxies)
    return replace(settings, public_url=settings.public_url and settings.public_url.rstrip("/"))


def _proxies(text: str | None) -> tuple[Network, ...]:
    """The networks of a list of addresses and networks. Raises BadSetting."""
    return tuple(_network(part.strip()) for part in text.split(",")) if text and text.strip() else ()


def _network(text: str) -> Network:
    """Of an address or a network. Raises BadSetting."""
    try:
        found = ip_network(text)
    except ValueError:
        found = None
    if found is None or found.prefixlen == 0:
        why = "believes whoever connects" if found or text == "*" else "is no address and no network"
        raise BadSetting(
            f"{PREFIX}TRUSTED_PROXIES: {text!r} {why}. Name the addresses or networks of your proxies, such as "
            "10.0.0.7,192.168.3.0/24 (a network without bits of a host), or unset it if there is no proxy"
        )
    return found


def _given(env: Mapping[str, str], shape: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields of the shape that the environment has a variable for."""
    names = (field.name for field in msgspec.structs.fields(shape) if field.name != "limits")
    return {name: env[PREFIX + name.upper()] for name in names if PREFIX + name.upper() in env}


def _variable(message: str, fields: set[str]) -> str:
    """The variable of the field that the message names."""
    return next((PREFIX + field.upper() for field in fields if message.endswith(f".{field}`")), PREFIX + "...")
