"""
Who may log in to the embedded Postgres, and as which role: pg_hba.conf and pg_ident.conf, written at each start.

The kernel tells Postgres which account of this machine is at the other end of the socket (`peer`), and pg_ident.conf
says as which roles that account may log in. There are no passwords, no TCP, and no `trust`. The account of the cluster,
where it is not ours, may not log in at all: code that runs inside the server must not get a role through its
socket. A base backup is a login for `replication`, and of these roles the superuser alone has the attribute for that.
"""

from collections.abc import Iterable

import msgspec

HBA = """\
# Written by Routines at each start: what is changed here is lost.
local all all peer map=routines
local replication all peer map=routines
host all all all reject
"""


class Login(msgspec.Struct, frozen=True):
    """An account of this machine, and the roles that it may log in as."""

    account: str
    roles: tuple[str, ...]


def ident(logins: Iterable[Login]) -> str:
    """Return the text of pg_ident.conf."""
    lines = (f"routines {_quote_name(login.account)} {_quote_name(role)}\n" for login in logins for role in login.roles)
    return HBA.splitlines(keepends=True)[0] + "".join(lines)


def _quote_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
