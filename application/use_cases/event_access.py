"""Who may read which events, and on what that right rests, so that a feed that goes on for long ends with it."""

from uuid import UUID

from application.access import (
    BoardUser,
    CollectionCaller,
    Principal,
    authorize,
    may,
    require_board,
    require_instance_reader,
)
from application.event_store.stream_kinds import KEY
from application.event_store.unit_of_work import UnitOfWork
from application.use_cases import names
from application.use_cases.board import companies
from domain.board import access
from domain.errors import Forbidden
from domain.events import STORED_NAMES
from domain.identity import membership_of
from domain.values import Value

ACCESS = tuple(name for name in STORED_NAMES if name.startswith(("key.", "name.")))
OF_NO_COMPANY = tuple(name for name in STORED_NAMES if name.startswith(("key.", "name.", "user.", "zones.")))
OF_DELIVERIES = tuple(name for name in STORED_NAMES if name.startswith(("delivery.", "endpoint.")))
IN_COLLECTIONS = (
    "company.",
    "routine.",
    "run.",
    "slot.",
    "task.",
    "trajectory.",
    "trigger.",
)  # what the Jetty API shows
BEYOND_COLLECTIONS = tuple(name for name in STORED_NAMES if not name.startswith(IN_COLLECTIONS))


class EventAccess(Value, frozen=True):
    """The right to read events: of which company (None: of all), without which kinds, and how long it lasts."""

    company_id: UUID | None
    hidden: tuple[str, ...]
    rests_on: frozenset[UUID] = frozenset()  # streams after whose next event it has to be asked for again
    ends_in_s: float | None = None  # until the key expires, from the moment of the question


def of_company(work: UnitOfWork, principal: Principal, company_id: UUID) -> EventAccess:
    """Return the right to the events of a company, for its owners, admins and auditors."""
    authorize(work, principal, "audit", companies.enter(work, company_id))
    return _access_of(work, principal, company_id, OF_NO_COMPANY)


def of_changes(work: UnitOfWork, principal: Principal, company_id: UUID) -> EventAccess:
    """
    Return the right to be told when something of a company has changed, for board users who may read it.

    Those who see no deliveries are not told of them either.
    """
    resource = companies.enter(work, company_id)
    authorize(work, principal, "read", resource)
    hidden_events = () if may(work, principal, "administer", resource) else OF_DELIVERIES
    return _access_of(work, require_board(principal), company_id, OF_NO_COMPANY + hidden_events)


def of_all(work: UnitOfWork, principal: Principal) -> EventAccess:
    """Return the right to all events, for admins and auditors of the instance. Only the latter see those of keys and names."""
    user = require_instance_reader(principal)
    return _access_of(work, user, None, () if user.instance_auditor else ACCESS)


def of_collection(work: UnitOfWork, principal: Principal, collection: str) -> EventAccess:
    """Return the right to the events of a collection that the Jetty API knows of; also for holders of its keys."""
    company_id = names.collection(work, principal, collection, "audit")
    return _access_of(work, principal, company_id, BEYOND_COLLECTIONS)


def _access_of(
    work: UnitOfWork, principal: Principal, company_id: UUID | None, hidden_events: tuple[str, ...]
) -> EventAccess:
    membership: UUID | None
    match principal:
        case BoardUser(user_id=user_id, key_id=key_id):
            membership = membership_of(user_id, company_id) if company_id is not None else user_id
        case CollectionCaller(key_id=key_id):
            membership = access.membership_of_issuer(work.history(key_id)[0])
        case _:
            raise Forbidden("Board access required")
    key = work.get(KEY, key_id)
    session = None if key is None or key.session is None else (key.session.rests_on, key.user_id)
    return EventAccess(
        company_id=company_id,
        hidden=hidden_events,
        rests_on=frozenset(id_ for id_ in (key_id, membership, *(session or ())) if id_ is not None),
        ends_in_s=None if key is None or key.expires_at is None else (key.expires_at - work.now).total_seconds(),
    )
