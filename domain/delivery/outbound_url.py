"""What a URL must look like to which we send on behalf of others. Where its name leads is checked when we connect."""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from domain.delivery.addresses import is_public
from domain.errors import InvalidField

LONGEST = 2_048
LONGEST_PORT = 65_535
PRINTABLE = re.compile(r"[!-~]+")  # names in other scripts are written as xn--...
AUTHORITY = re.compile(r"\A[^/?]*")
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)  # some resolvers read such a last label as an address
NOWHERE = ("localhost", "local", "internal", "localdomain", "home.arpa")  # names that lead to no public address
PRIVATE = (
    "must name a public host: whoever runs the service has to allow private ones "
    "(ROUTINES_ALLOW_PRIVATE_TARGETS=true, or `routines up --allow-private-targets`)"
)


class BadTarget(Exception):
    """A URL to which we do not send; the message says why."""


def must_be_url(url: str, field: str, *, allow_private: bool) -> None:
    """Raise InvalidField, which names the field, unless we may send to the URL, as far as it can be told without a resolver."""
    try:
        host = host_of(url)
    except BadTarget as error:
        raise InvalidField(f"{field} {error}", field) from None
    if is_private_by_name(host) and not allow_private:
        raise InvalidField(f"{field} {PRIVATE}", field)


def host_of(url: str) -> str:
    """Return the host of an http or https URL: a name, or an address in its usual notation. Raise BadTarget."""
    if len(url) > LONGEST or not PRINTABLE.fullmatch(url) or "\\" in url:
        raise BadTarget(f"must be a URL of up to {LONGEST} ASCII characters, without blanks and backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadTarget("must be a URL with a valid host and port") from error
    if parts.scheme not in ("http", "https"):
        raise BadTarget("must begin with http:// or https://")
    if "#" in url:
        raise BadTarget("must not hold a fragment (#): it is not sent")
    if "@" in parts.netloc:
        raise BadTarget("must not hold a user or a password: its secret signs what is sent")
    if port is not None and not 0 < port <= LONGEST_PORT:
        raise BadTarget("must have a port from 1 to 65535")
    host = parts.hostname or ""
    return _check_address(host) if "[" in parts.netloc else _check_name(host)


def request_target(url: str) -> str:
    """Return the part of a URL that a request names to the host: path, parameters and query, unchanged."""
    _, _, rest = url.partition("://")
    target = AUTHORITY.sub("", rest, count=1)
    return target if target.startswith("/") else f"/{target}"


def is_private_by_name(host: str) -> bool:
    """Return whether a host leads to no public address whatever a resolver answers."""
    host = host.rstrip(".").lower()
    if any(host == name or host.endswith(f".{name}") for name in NOWHERE):
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return not is_public(host)


def _check_address(host: str) -> str:
    if "%" in host:
        raise BadTarget("must not name a zone of this machine (%)")
    try:
        return str(ip_address(host))
    except ValueError as error:
        raise BadTarget("must have a valid IPv6 address between brackets") from error


def _check_name(host: str) -> str:
    labels = host.removesuffix(".").split(".")
    if not all(LABEL.fullmatch(label) for label in labels) or len(host) > 253:  # noqa: PLR2004 of DNS
        raise BadTarget("must have a host: a name, or an address")
    if NUMERIC.fullmatch(labels[-1]):
        try:
            return str(ip_address(host))
        except ValueError as error:
            raise BadTarget("must have an IPv4 address written as four decimal numbers") from error
    return host.lower()
