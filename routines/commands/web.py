"""`routines web`: the HTTP API."""

import contextlib
import os
import stat

import click

from routines.commands import entry, terminal
from routines.commands.stopping import stop_on_signal
from routines.errors import CannotStart
from routines.local import web_processes
from routines.local.listening import free_port
from routines.logs import log


def _checked_socket(_context: click.Context, _parameter: click.Parameter, fd: int | None) -> int | None:
    """Return the descriptor. Raises BadParameter unless it is one of a socket."""
    with contextlib.suppress(OSError):
        if fd is None or stat.S_ISSOCK(os.fstat(fd).st_mode):
            return fd
    raise click.BadParameter("the parent process has left no socket under this number")


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=3100, show_default=True, type=click.IntRange(0, 65535), help="The port to listen on.")
@click.option(
    "--fd",
    type=click.IntRange(0),
    callback=_checked_socket,
    help="Listen on this socket instead, inherited from the parent process.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="How many processes share the port; one uses about one core.",
)
def web(host: str, port: int, fd: int | None, workers: int) -> None:
    """
    Serve the HTTP API. Any number of these processes may run.

    With --workers, processes that end are started again, and each counts rates and requests for itself.
    """
    if fd is not None and workers > 1:
        raise click.UsageError("--workers needs a host and port of its own: leave out --fd, or --workers")
    start = entry.begin("web")
    try:
        port = free_port(host, port) if fd is None else port
        if workers > 1:
            with stop_on_signal() as stop:
                web_processes.serve(host, port, workers, stop)
            log.info("stopped")
            return
        from routines.web_server import serve  # noqa: PLC0415 whoever only watches over the workers needs no framework

        serve(start.settings, host, port, fd, is_checked=start.is_checked)
    except CannotStart as error:
        raise terminal.CommandError(str(error)) from error
    except Exception as error:  # noqa: BLE001 it is raised unless there is a sentence about it
        entry.end(error)
