"""
Every kind of event, a module per subject. The tag of an event is its stored name: a promise that never changes its meaning.

A field may be added with a default; any other change needs a new event with a new tag. Whoever works with events imports
them from here.
"""

from typing import get_args

from domain.events.access import *
from domain.events.alerts import *
from domain.events.board import *
from domain.events.delivery import *
from domain.events.event import *
from domain.events.issues import *
from domain.events.jetty import *
from domain.events.routines import *
from domain.events.runs import *

AnyEvent = (
    AccessEvent
    | CompanyEvent
    | AgentEvent
    | ProjectEvent
    | GoalEvent
    | FolderEvent
    | ZoneDataAdopted
    | RoutineEvent
    | TriggerEvent
    | BackfillEvent
    | ProbeEvent
    | RunEvent
    | AlertEvent
    | SlotEvent
    | IssueEvent
    | CommentAdded
    | TaskEvent
    | TrajectoryEvent
    | EndpointEvent
    | DeliveryEvent
)


NAMES: dict[type, str] = {kind: str(kind.__struct_config__.tag) for kind in get_args(AnyEvent)}
STORED_NAMES: dict[str, type[Event]] = {name: kind for kind, name in NAMES.items()}


def stored_name(kind: type[Event] | Event) -> str:
    """Return the name under which the log keeps this kind of event, such as `run.fired`."""
    return NAMES[kind if isinstance(kind, type) else type(kind)]
