"""`routines projector`: keeps the read models and the trees of the log up to date."""

from functools import partial

import click

from processes import notary, silent_sessions
from processes.projector import Projector, run
from projections import catalogue
from routines import bootstrap
from routines.commands import entry


@click.command()
def projector() -> None:
    """
    Keep the read models and the Merkle trees of the log up to date.

    Any number of these processes may run: they share the read models between them, and when one goes, the others take
    over its share within a second or two (within ten if its connection was lost unseen,
    within twenty if it hangs in the middle of a batch).

    With ROUTINES_LOG_KEY_FILE (see `routines audit new-key`) they sign a checkpoint of the trees every
    ROUTINES_CHECKPOINT_S seconds (10) in which the log has grown, and put it into ROUTINES_CHECKPOINT_DIR as well.

    With ROUTINES_KEEP_HOT_DAYS they move the rows of runs, occurrences, issues, comments, deliveries and trajectories that have
    been over for so many days into cold tables, a few at a time; everything is found as before.
    """
    with entry.process("projector") as (system, stop), silent_sessions.watch_sessions(system.pool.connection, stop):
        settings = system.settings
        running = Projector(catalogue.ALL, system.store.after)
        with notary.at_work(bootstrap.notary(settings), partial(bootstrap.connect, settings), stop, system.outage):
            run(
                running,
                partial(bootstrap.connect_projector, system),
                stop,
                outage=system.outage,
                log_days=settings.limits.max_run_log_days,
                hot_age=settings.hot_age,
            )
