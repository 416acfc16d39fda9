"""Who may log in to the embedded Postgres, and as which role: pg_hba.conf and pg_ident.conf, written at each start.

The kernel tells Postgres which account of this machine is at the other end of the socket (`peer`), and the map below
says which roles it may be. There are no passwords, no TCP, and nobody who is trusted. The account of the cluster itself
is not on the map where it is not ours: what runs inside the server must not come back through its socket as somebody.
"""

from collections.abc import Iterable

import msgspec

HBA = """\
# Written by Routines at each start: what is changed here is lost.
local all all peer map=routines
host all all all reject
"""


class Login(msgspec.Struct, frozen=True):
    """An account of this machine, and the roles that it may log in as."""

    account: str
    roles: tuple[str, ...]


def ident(logins: Iterable[Login]) -> str:
    """What pg_ident.conf says."""
    lines = (f"routines {_quoted(login.account)} {_quoted(role)}\n" for login in logins for role in login.roles)
    return HBA.splitlines(keepends=True)[0] + "".join(lines)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
