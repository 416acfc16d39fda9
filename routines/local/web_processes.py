"""Several web processes on one port: each has a socket of its own that it inherits, and is replaced when it ends."""

import contextlib
import os
import socket
import sys
from threading import Event as Stop

from routines.local.listening import listen
from routines.local.supervisor import Part, Supervisor, part_names
from routines.logs import log

POLL_S = 0.1


def names_and_sockets(ending: contextlib.ExitStack, host: str, port: int, many: int) -> list[tuple[str, socket.socket]]:
    """
    Listen for so many web processes until `ending`; return the name of each and its socket.

    A connection that comes while a process is being replaced waits in its socket for the next one.
    """
    return [(name, ending.enter_context(listen(host, port, shared=many > 1))) for name in part_names("web", many)]


def serve(host: str, port: int, many: int, stop: Stop) -> None:
    """Run so many web processes with our settings until `stop` is set; what they write goes where ours goes."""
    with contextlib.ExitStack() as ending:
        command = [sys.executable, "-m", "routines", "web", "--host", host, "--port", str(port), "--fd"]
        parts = [
            Part(name, [*command, str(each.fileno())], os.environ, fds=(each.fileno(),))
            for name, each in names_and_sockets(ending, host, port, many)
        ]
        supervisor = Supervisor(parts, logs=None, say=lambda text: log.warning("web_process_changed", what=text))
        ending.callback(supervisor.stop)
        supervisor.start()
        while not stop.wait(POLL_S):
            supervisor.tick()
