"""All read models, for the projector, rebuilds and health."""

from projections.backfills import backfills
from projections.calls import calls
from projections.collections import collections
from projections.deadlines import deadlines
from projections.deliveries import deliveries
from projections.directory import directory
from projections.endpoints import endpoints
from projections.firing_metrics import firing_metrics
from projections.issues import issues
from projections.occurrences import occurrences
from projections.revisions import revisions
from projections.routines import routines
from projections.run_history import run_history
from projections.tasks import tasks
from projections.trajectories import trajectories
from projections.triggers_due import triggers_due

ALL = (
    backfills,
    calls,
    collections,
    deadlines,
    deliveries,
    directory,
    endpoints,
    firing_metrics,
    issues,
    occurrences,
    revisions,
    routines,
    run_history,
    tasks,
    trajectories,
    triggers_due,
)
