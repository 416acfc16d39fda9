"""`routines projector`: keeps the read models up to date."""

import click

from processes.projector import Projector, run
from projections import catalogue
from routines import bootstrap
from routines.commands import entry


@click.command()
def projector() -> None:
    """Keep the read models up to date with the event log. Any number of these processes may run."""
    with entry.process("projector") as (system, stop):
        running = Projector(catalogue.ALL, system.store.after)
        run(running, lambda: bootstrap.connect(system.settings), stop, system.settings.limits.max_run_log_days)
