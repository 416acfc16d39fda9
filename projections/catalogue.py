"""All read models, for the projector, rebuilds and health."""

from projections.deadlines import deadlines
from projections.directory import directory
from projections.firing_metrics import firing_metrics
from projections.issues import issues
from projections.occurrences import occurrences
from projections.revisions import revisions
from projections.routines import routines
from projections.run_history import run_history
from projections.triggers_due import triggers_due

ALL = (
    deadlines,
    directory,
    firing_metrics,
    issues,
    occurrences,
    revisions,
    routines,
    run_history,
    triggers_due,
)
