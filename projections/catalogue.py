"""All read models, for the projector, rebuilds and health."""

from projections.audit.event_index import event_index
from projections.board.directory import directory
from projections.board.issues import issues
from projections.board.stored_bytes import stored_bytes
from projections.delivery.deliveries import deliveries
from projections.delivery.endpoints import endpoints
from projections.firing.activity import activity
from projections.firing.backfills import backfills
from projections.firing.chains import chains
from projections.firing.deadlines import deadlines
from projections.firing.firing_metrics import firing_metrics
from projections.firing.occurrences import occurrences
from projections.firing.pending_probes import pending_probes
from projections.firing.run_history import run_history
from projections.firing.spending import spending
from projections.firing.triggers_due import triggers_due
from projections.firing.troubles import troubles
from projections.jetty.collections import collections
from projections.jetty.task_routines import calls
from projections.jetty.tasks import tasks
from projections.jetty.trajectories import trajectories
from projections.routines.folders import folders
from projections.routines.routine_versions import routine_versions
from projections.routines.routines import routines

ALL = (
    activity,
    backfills,
    calls,
    chains,
    collections,
    deadlines,
    deliveries,
    directory,
    endpoints,
    event_index,
    firing_metrics,
    folders,
    issues,
    occurrences,
    pending_probes,
    routine_versions,
    routines,
    run_history,
    spending,
    stored_bytes,
    tasks,
    trajectories,
    triggers_due,
    troubles,
)
