"""All read models, for the projector, rebuilds and health."""

from projections.directory import directory
from projections.firing_metrics import firing_metrics
from projections.issues import issues
from projections.revisions import revisions
from projections.routines import routines
from projections.run_history import run_history
from projections.triggers_due import triggers_due

ALL = (directory, firing_metrics, issues, revisions, routines, run_history, triggers_due)
