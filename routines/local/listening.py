"""Where the web process listens: the URL of a host and port, whether they can be had, and what to do if not."""

import contextlib
import errno
import socket
from pathlib import Path

from routines.errors import CannotStart

PRIVILEGED_PORTS = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


def url_of(host: str, port: int) -> str:
    """Return a URL by which programs on this machine reach the host and port."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 compared, not bound
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def free_port(host: str, port: int) -> int:
    """Return the port if nobody listens there, or for 0 any free one. Raises CannotStart."""
    try:
        with listen(host, port) as server:
            return int(server.getsockname()[1])
    except (OSError, UnicodeError) as error:
        reason = str(error.strerror).partition(" (")[0] if isinstance(error, OSError) else "no such name"
        raise CannotStart(f"cannot listen on {host} port {port}: {reason}; {_way_out(error)}") from None


def _way_out(error: OSError | UnicodeError) -> str:
    """Return what to do about the failure, which is a matter of the host, the port or the account."""
    match error:
        case OSError(errno=errno.EADDRINUSE):
            return "end the process that listens there, or take another --port"
        case OSError(errno=errno.EACCES | errno.EPERM):
            return f"only root may take ports below {first_open_port()}: take a --port from {first_open_port()} on"
        case OSError(errno=errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT):
            return "take an address of this machine as --host: 127.0.0.1, or 0.0.0.0 for all of them"
        case socket.gaierror() | UnicodeError():
            return "take an address or a name of this machine as --host: 127.0.0.1, or 0.0.0.0 for all of them"
    return "take another --host or --port"


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """
    Return a socket that listens there.

    Of `shared` ones there may be several for one port: the kernel gives each connection to one of them, by its address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, reuse_port=shared)


def is_privileged(port: int) -> bool:
    """Return whether only root may listen on the port."""
    return port < first_open_port()


def first_open_port() -> int:
    """Return the lowest port on which every account may listen."""
    with contextlib.suppress(OSError, ValueError):
        return int(PRIVILEGED_PORTS.read_text())
    return 1024  # the default of Linux
