"""The settings of a process, read once at its start from ROUTINES_* variables."""

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
OF_LIBPQ = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
BASE_URL = re.compile(r"https?://([\w.-]+|\[[\da-fA-F:.]+\])(:\d{1,5})?(/[\w.~%-]+)*/?", re.ASCII)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings. Each field is the variable ROUTINES_<FIELD>, and so is each field of `limits`."""

    database_url: Annotated[str, Meta(min_length=1)]
    threads: Annotated[int, Meta(ge=2, le=200)] = 16  # requests that one web process works on at the same time
    connections: Annotated[int, Meta(ge=2, le=200)] = 10  # that one process has to Postgres
    patience_s: Annotated[float, Meta(gt=0, le=60)] = 5.0  # seconds that a read waits for its read models
    batch: Annotated[int, Meta(ge=1, le=1_000)] = 200  # schedules that one transaction fires
    key_file: Annotated[str, Meta(min_length=1)] | None = None  # of the secrets: application/secrets/key_ring.py
    public_url: str | None = None  # with which URLs of webhooks begin: a host, perhaps a path, no slash at the end
    webhook_rate: Annotated[int, Meta(ge=0)] = 600  # calls a minute that a webhook takes from one sender; 0: no limit
    allow_private_targets: bool = False  # whether deliveries may go to addresses that are not public
    trusted_proxies: str | None = None  # addresses and networks, comma-separated, whose X-Forwarded-For is believed
    log_level: Annotated[str, Meta(pattern="^(debug|info|warning|error)$")] = "info"
    limits: Limits = limits.DEFAULT

    @property
    def proxies(self) -> tuple[Network, ...]:
        """The networks of the trusted proxies."""
        return _proxies(self.trusted_proxies)

    def __repr__(self) -> str:
        return "Settings(***)"  # the URL of the database holds a password

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


def has_jetty_routines(env: Mapping[str, str]) -> bool:
    """Return whether ENABLE_ROUTINES is `true` or `1`, or not set: Jetty's name for the setting (Jetty contract 1)."""
    return env.get("ENABLE_ROUTINES", "true").strip().lower() in ("true", "1")


class BadSetting(Exception):
    """A ROUTINES_ variable is missing or wrong; the message names it."""


def from_env(env: Mapping[str, str]) -> Settings:
    """Return the settings that the environment gives. Raises BadSetting, which names the variable."""
    fields = _given(env, Settings)
    if not fields.get("database_url"):
        raise BadSetting(f"{PREFIX}DATABASE_URL is not set: which Postgres is it?")
    bounds = _given(env, Limits)
    try:
        settings = msgspec.convert({**fields, "limits": bounds}, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise BadSetting(f"{_variable(str(error), {*fields, *bounds})}: {error}") from error
    try:
        named = conninfo_to_dict(settings.database_url)
    except psycopg.ProgrammingError:
        raise BadSetting(
            f"{PREFIX}DATABASE_URL is not the URL of a Postgres database"
        ) from None  # its message would quote the password
    if "@" in str(
        named.get("host")
    ):  # the end of an unescaped password, which an error would show as a host that is not found
        raise BadSetting(f"{PREFIX}DATABASE_URL has more than one @: write the one in the password as %40")
    _refuse_doubt(named, env)
    if settings.public_url is not None and not BASE_URL.fullmatch(settings.public_url):
        raise BadSetting(f"{PREFIX}PUBLIC_URL is not an address like https://routines.example.org")
    _proxies(settings.trusted_proxies)
    return replace(settings, public_url=settings.public_url and settings.public_url.rstrip("/"))


def _refuse_doubt(named: Mapping[str, Any], env: Mapping[str, str]) -> None:
    """Raise BadSetting where the URL leaves open what a variable of libpq says: which of them was meant is not clear."""
    for name, variable in OF_LIBPQ.items():
        if env.get(variable) and not named.get(name) and not named.get("service"):
            raise BadSetting(
                f"{PREFIX}DATABASE_URL names no {name}, and {variable} is set, which is not used: write it into the URL"
            )


def _proxies(text: str | None) -> tuple[Network, ...]:
    """Return the networks of a comma-separated list of addresses and networks. Raises BadSetting."""
    return tuple(_network(part.strip()) for part in text.split(",")) if text and text.strip() else ()


def _network(text: str) -> Network:
    """Return the network of an address or a network. Raises BadSetting, also for one that holds every address."""
    try:
        network = ip_network(text)
    except ValueError:
        network = None
    if network is None or network.prefixlen == 0:
        why = "believes whoever connects" if network or text == "*" else "is no address and no network"
        raise BadSetting(
            f"{PREFIX}TRUSTED_PROXIES: {text!r} {why}. Name the addresses or networks of your proxies, such as "
            "10.0.0.7,192.168.3.0/24 (a network without bits of a host), or unset it if there is no proxy"
        )
    return network


def _given(env: Mapping[str, str], struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the values of the struct's fields for which the environment has a variable."""
    names = (field.name for field in msgspec.structs.fields(struct) if field.name != "limits")
    return {name: env[PREFIX + name.upper()] for name in names if PREFIX + name.upper() in env}


def _variable(message: str, fields: set[str]) -> str:
    """Return the variable of the field that the message of msgspec names."""
    return next((PREFIX + field.upper() for field in fields if message.endswith(f".{field}`")), PREFIX + "...")
