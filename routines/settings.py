"""The settings of a process, read once at its start from ROUTINES_* variables."""

import re
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Literal

import msgspec
import psycopg
from msgspec import Meta, inspect
from msgspec.structs import replace
from psycopg.conninfo import conninfo_to_dict

from domain.bounds import limits
from domain.bounds.limits import Limits
from domain.delivery.outbound_url import BadTarget, host_of
from domain.proof.witnesses import Witness, read_key

Network = IPv4Network | IPv6Network

PREFIX = "ROUTINES_"
URL_VARIABLE, KEY_VARIABLE = PREFIX + "DATABASE_URL", PREFIX + "KEY_FILE"
LOG_KEY_VARIABLE = PREFIX + "LOG_KEY_FILE"
WITNESSES_VARIABLE = PREFIX + "WITNESSES"
CHECKPOINT_VARIABLES = PREFIX + "CHECKPOINT_S", PREFIX + "CHECKPOINT_DIR", WITNESSES_VARIABLE
MOST_WITNESSES = 16
BASE_URL = re.compile(r"https?://([\w.-]+|\[[\da-fA-F:.]+\])(:(\d{1,5}))?(/[\w.~%-]+)*/?", re.ASCII)
MAX_PORT = 65535
QUOTED = 60  # characters of a wrong value that its error quotes
# Read elsewhere: by the embedded Postgres, the worker, the demo and the verifier of the log.
NAMES_OF_OTHERS = ("PG_BIN", "URL", "AGENT_TOKEN", "WORKER_ALLOW_ENV", "WORKER_PASS_TOKEN", "BOARD_TOKEN", "TOKEN")
OF_LIBPQ = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}


class OptionalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that have a default: all but the database, which `routines up` may make itself."""

    threads: Annotated[int, Meta(ge=2, le=200)] = 16  # requests that one web process works on at the same time
    connections: Annotated[int, Meta(ge=2, le=200)] = 10  # connections that one process has to Postgres
    patience_s: Annotated[float, Meta(gt=0, le=60)] = 5.0  # seconds that a read waits for its read models
    batch: Annotated[int, Meta(ge=1, le=1_000)] = 200  # schedules that one transaction fires
    key_file: Annotated[str, Meta(min_length=1)] | None = None  # keys of the secrets: application/secrets/key_ring.py
    # The key that signs checkpoints: application/proof/log_key.py.
    log_key_file: Annotated[str, Meta(min_length=1)] | None = None
    checkpoint_s: Annotated[float, Meta(ge=1, le=3_600)] = 10.0  # seconds between two checkpoints of a log that grows
    checkpoint_dir: Annotated[str, Meta(min_length=1)] | None = None  # a directory that gets each checkpoint as a file
    # Witnesses of the log, comma-separated: the URL of each, a blank, and its verifier key.
    witnesses: str | None = None
    public_url: str | None = None  # the beginning of links to this service, without a slash at its end
    webhook_rate: Annotated[int, Meta(ge=0)] = 600  # calls a minute that a webhook takes from one sender; 0: no limit
    trusted_proxies: str | None = None  # addresses and networks, comma-separated, whose X-Forwarded-For is believed
    # After so many days, what is over leaves the hot tables.
    keep_hot_days: Annotated[float, Meta(gt=0, le=36_500)] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_max_bytes: Annotated[int, Meta(ge=2**16)] = 16 * 2**20  # size at which `routines up` rotates a log file
    log_files: Annotated[int, Meta(ge=0, le=100)] = 4  # how many rotated files it keeps of each log
    limits: Limits = limits.DEFAULT

    @property
    def proxies(self) -> tuple[Network, ...]:
        """The networks of the trusted proxies."""
        return _parse_proxies(self.trusted_proxies)

    @property
    def hot_age(self) -> timedelta | None:
        """For how long rows of what is over stay in the hot tables; None for ever."""
        return None if self.keep_hot_days is None else timedelta(days=self.keep_hot_days)

    @property
    def log_witnesses(self) -> tuple[Witness, ...]:
        """The witnesses that cosign checkpoints of the log."""
        return _parse_witnesses(self.witnesses)


class Settings(OptionalSettings, frozen=True, kw_only=True):
    """The settings. Each field is the variable ROUTINES_<FIELD>, and so is each field of `limits`."""

    database_url: Annotated[str, Meta(min_length=1)]

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
    url = env.get(URL_VARIABLE)
    if not url:
        raise BadSetting(f"{URL_VARIABLE} is not set: which Postgres is it? `routines --help` says how to start")
    optional = optional_from_env(env)
    _check_url(url, env)
    return Settings(database_url=url, **msgspec.structs.asdict(optional))


def optional_from_env(env: Mapping[str, str]) -> OptionalSettings:
    """Return the settings but the database, whether the environment names one or not. Raises BadSetting."""
    settings = OptionalSettings(**_read_values(env, OptionalSettings), limits=Limits(**_read_values(env, Limits)))
    if settings.public_url is not None and not _is_base_url(settings.public_url):
        raise BadSetting(  # without the value, which may hold a password
            f"{PREFIX}PUBLIC_URL must be an address like https://routines.example.org or https://example.org/routines"
        )
    _parse_proxies(settings.trusted_proxies)
    _parse_witnesses(settings.witnesses)
    return replace(settings, public_url=settings.public_url and settings.public_url.rstrip("/"))


def ignored_settings(env: Mapping[str, str]) -> list[str]:
    """Return a sentence about each ROUTINES_ variable that nothing reads, most likely a slip of the pen."""
    known = {*NAMES_OF_OTHERS, *(name.upper() for kind in (Settings, Limits) for name in kind.__struct_fields__)}
    given = sorted(name.removeprefix(PREFIX) for name in env if name.startswith(PREFIX))
    return [_say_ignored(name, known) for name in given if name not in known]


def _say_ignored(name: str, known: set[str]) -> str:
    meant = get_close_matches(name, sorted(known), n=1, cutoff=0.7)
    return f"{PREFIX}{name} is no setting and has no effect" + (f": is {PREFIX}{meant[0]} meant?" if meant else "")


def _parse_witnesses(text: str | None) -> tuple[Witness, ...]:
    """Return the witnesses that a text names. Raises BadSetting."""
    witnesses = tuple(_parse_witness(part) for part in (text or "").split(",") if part.strip())
    if len({witness.key.name for witness in witnesses}) < len(witnesses):
        raise BadSetting(f"{WITNESSES_VARIABLE} names a witness twice")
    if len({witness.key.public for witness in witnesses}) < len(witnesses):
        raise BadSetting(f"{WITNESSES_VARIABLE} has the same key for two witnesses")
    if len(witnesses) > MOST_WITNESSES:
        raise BadSetting(f"{WITNESSES_VARIABLE} names more than {MOST_WITNESSES} witnesses")
    return witnesses


def _parse_witness(text: str) -> Witness:
    url, _, verifier_key = text.strip().partition(" ")
    verifier_key = verifier_key.strip()
    if "@" in url or "?" in url:  # without the value, which may hold a password
        raise BadSetting(f"{WITNESSES_VARIABLE}: the URL of a witness must hold no user, no password and no query")
    try:
        host_of(url)
        key = read_key(verifier_key)
    except BadTarget as error:
        raise BadSetting(f"{WITNESSES_VARIABLE}: the URL {url[:QUOTED]!r} {error}") from None
    except ValueError as error:
        raise BadSetting(
            f"{WITNESSES_VARIABLE} must be like 'https://witness.example.org witness.example.org+id+base64, ...': {error}"
        ) from None
    return Witness(url=url, verifier_key=verifier_key, key=key)


def _check_url(url: str, env: Mapping[str, str]) -> None:
    """Raise BadSetting for a text that is no URL of a Postgres database, or leaves open which one is meant."""
    try:
        parameters = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        text = f"{URL_VARIABLE} is not the URL of a Postgres database"
        raise BadSetting(text) from None  # the message of psycopg would quote the password
    if "@" in str(parameters.get("host")):
        # The end of an unescaped password, which an error would show as a host that is not found.
        raise BadSetting(f"{URL_VARIABLE} has more than one @: write the one in the password as %40")
    _refuse_doubt(parameters, env)


def describe_database(url: str) -> str:
    """Return which database a URL names and with which login, without the password."""
    words = conninfo_to_dict(url)
    name, login, host, port = (str(words.get(word) or "") for word in ("dbname", "user", "host", "port"))
    server = host + (f":{port}" if port else "") or "this machine"
    return f"{name or login or 'the default one'} on {server}" + (f" as {login}" if login else "")


def _is_base_url(text: str) -> bool:
    match = BASE_URL.fullmatch(text)
    return match is not None and int(match[3] or 0) <= MAX_PORT


def _refuse_doubt(parameters: Mapping[str, Any], env: Mapping[str, str]) -> None:
    """Raise BadSetting where the URL leaves open what a variable of libpq says: which of them was meant is not clear."""
    for name, variable in OF_LIBPQ.items():
        if env.get(variable) and not parameters.get(name) and not parameters.get("service"):
            raise BadSetting(
                f"{URL_VARIABLE} names no {name}, and {variable} is set, which is not used: write it into the URL"
            )


def _parse_proxies(text: str | None) -> tuple[Network, ...]:
    """Return the networks of a comma-separated list of addresses and networks. Raises BadSetting."""
    return tuple(_parse_network(part.strip()) for part in text.split(",")) if text and text.strip() else ()


def _parse_network(text: str) -> Network:
    """Return the network of an address or a network. Raises BadSetting, also for one that holds every address."""
    try:
        network = ip_network(text)
    except ValueError:
        network = None
    if network is None or network.prefixlen == 0:
        reason = "believes whoever connects" if network or text == "*" else "is no address and no network"
        raise BadSetting(
            f"{PREFIX}TRUSTED_PROXIES: {text!r} {reason}. Name the addresses or networks of your proxies, such as "
            "10.0.0.7,192.168.3.0/24 (a network without bits of a host), or unset it if there is no proxy"
        )
    return network


def _read_values(env: Mapping[str, str], struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the values of the struct's fields for which the environment has a variable. Raises BadSetting."""
    fields = {field.name: field.type for field in msgspec.structs.fields(struct) if field.name != "limits"}
    variables = {name: PREFIX + name.upper() for name in fields}
    return {
        name: _read_value(variables[name], env[variables[name]], kind)
        for name, kind in fields.items()
        if variables[name] in env
    }


def _read_value(variable: str, text: str, kind: Any) -> Any:
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError:
        raise BadSetting(
            f"{variable} is {_quote_text(text)}, and must be {_describe_type(inspect.type_info(kind))}"
        ) from None


def _quote_text(text: str) -> str:
    return repr(text if len(text) <= QUOTED else text[:QUOTED] + "...") if text else "empty"


def _describe_type(kind: inspect.Type) -> str:
    """Return in words which values a type has."""
    match kind:
        case inspect.UnionType(types=types):
            return next(_describe_type(each) for each in types if not isinstance(each, inspect.NoneType))
        case inspect.BoolType():
            return "true or false"
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(map(str, values))
        case inspect.IntType() | inspect.FloatType():
            words = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
            lowest = (
                f" from {kind.ge:,}" if kind.ge is not None else f" above {kind.gt:,g}" if kind.gt is not None else ""
            )
            return words + lowest + (f" to {kind.le:,}" if kind.le is not None else " on")
        case _:
            return "a text of at least one character"
