"""`routines scheduler`: fires schedules."""

import click

from processes import silent_sessions
from processes.scheduler.scheduler import Scheduler, run
from routines import bootstrap
from routines.commands import entry


@click.command()
def scheduler() -> None:
    """Fire schedules when they are due. Any number of these processes may run."""
    with entry.process("scheduler") as (system, stop), silent_sessions.watch_sessions(system.pool.connection, stop):
        running = Scheduler(system.executor, system.store.after, system.settings.batch)
        run(running, lambda: bootstrap.connect_follower(system), stop, system.outage)
