"""The kinds of streams, each with the prefix of its events' stored names, its fold, and from where it is read."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from domain.board import access, agent, company, goal, issue, project
from domain.delivery import delivery, endpoint
from domain.jetty import task, trajectory
from domain.routines import alert, backfill, folder, probe, routine, run, slot, trigger
from domain.schedule import zones
from domain.values import Value

State = TypeVar("State")


class Kind(Value, Generic[State], frozen=True):
    """A kind of stream. Its events, whose stored names begin with `prefix`, fold into one state by `evolve`."""

    prefix: str
    evolve: Callable[[State | None, Any], State | None]
    read_from: str | None = None  # reading starts at the last event of this name; None: at the first event


USER = Kind(prefix="user.", evolve=access.evolve_user)
MEMBERSHIP = Kind(prefix="member.", evolve=access.evolve_membership)
KEY = Kind(prefix="key.", evolve=access.evolve_key)
CLAIM = Kind(prefix="name.", evolve=access.evolve_claim)
COMPANY = Kind(prefix="company.", evolve=company.evolve)
AGENT = Kind(prefix="agent.", evolve=agent.evolve)
PROJECT = Kind(prefix="project.", evolve=project.evolve)
GOAL = Kind(prefix="goal.", evolve=goal.evolve)
FOLDER = Kind(prefix="folder.", evolve=folder.evolve)
ZONE_DATA = Kind(prefix="zones.", evolve=zones.evolve)
ROUTINE = Kind(prefix="routine.", evolve=routine.evolve)
TRIGGER = Kind(prefix="trigger.", evolve=trigger.evolve)
BACKFILL = Kind(prefix="backfill.", evolve=backfill.evolve)
RUN = Kind(prefix="run.", evolve=run.evolve)
PROBE = Kind(prefix="probe.", evolve=probe.evolve)
ALERT = Kind(prefix="alert.", evolve=alert.evolve)
SLOT = Kind(prefix="slot.", evolve=slot.evolve, read_from=slot.READ_FROM)
ISSUE = Kind(prefix="issue.", evolve=issue.evolve)
TASK = Kind(prefix="task.", evolve=task.evolve)
TRAJECTORY = Kind(prefix="trajectory.", evolve=trajectory.evolve)
ENDPOINT = Kind(prefix="endpoint.", evolve=endpoint.evolve)
DELIVERY = Kind(prefix="delivery.", evolve=delivery.evolve)

# The one rule of what a process caches: the kinds on which many decisions rest. Others are needed once or twice in their life, so
# they are read each time.
CACHED = (USER, MEMBERSHIP, KEY, CLAIM, COMPANY, AGENT, PROJECT, ROUTINE, TRIGGER, SLOT, TASK, ENDPOINT)
CACHED_PREFIXES = tuple(kind.prefix for kind in CACHED)
# What is fired by hand or by webhooks, in an event loop, looks at the live work of its routine each time: so the issues and the runs
# that a decision there has missed are cached as well. The scheduler does not cache them: others work on them meanwhile, and a
# batch that rests on an old issue is refused as a whole.
CACHED_ON_LOOP_PREFIXES = (*CACHED_PREFIXES, RUN.prefix, ISSUE.prefix)
