"""Collections: companies as Jetty's clients see them, their environment, and the keys bound to one (Jetty contract 7)."""

from uuid import UUID

from application import tokens
from application.access import Action, BoardUser, CollectionCaller, Principal, require_board
from application.event_store.stream_kinds import COMPANY, KEY
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.board import CompanyDraft
from application.request_bodies.jetty import ApiKeyCreate, CollectionCreate, EnvironmentChange
from application.use_cases import named_secrets, names, read_access
from application.use_cases.board import companies, keys
from application.use_cases.board.keys import NewKey
from domain.board import access
from domain.disclosure import MASK
from domain.errors import Conflict, NotFound
from domain.events import CompanyEnvironmentChanged, CompanyNamed, KeyIssued
from domain.jetty import environment

PURPOSE = "environment"


def enter(work: UnitOfWork, principal: Principal, collection: str, action: Action = "read") -> UUID:
    """Return the company behind the name; raise NotFound unless the caller may see it."""
    return names.collection(work, principal, collection, action)


def name_of(work: UnitOfWork, principal: Principal, company_id: UUID) -> str:
    """Return the name that a company has as a collection; raise for all who may not read the company."""
    read_access.company(work, principal, company_id)
    return names.name_of_collection(work, company_id)


def create(work: UnitOfWork, principal: Principal, draft: CollectionCreate) -> UUID:
    """Create a company as a collection; raise Forbidden for all but instance admins, Conflict for a taken name."""
    require_board(principal)
    company_id = companies.create(work, principal, CompanyDraft(name=draft.name, description=draft.description))
    names.take(work, names.COLLECTIONS, draft.name, company_id, company_id, Conflict("Collection already exists"))
    work.record(company_id, [CompanyNamed(name=draft.name)])
    return company_id


def change_environment(work: UnitOfWork, principal: Principal, collection: str, change: EnvironmentChange) -> UUID:
    """
    Merge the variables into the environment; null deletes one, a mask keeps its value.

    Raises InvalidField for what cannot be a variable, and for too many or too large ones.
    """
    company_id = names.collection(work, principal, collection, "administer")
    company = work.get(COMPANY, company_id)
    old = company.environment if company else None
    values: dict[str, object] = {}
    if (variables := change.environment_variables) is not None:
        named_secrets.check_masks(variables, old, "environment_variables")
        new = {name: value for name, value in variables.items() if value is not None and value != MASK}
        environment.check_new(new)
        deleted_names = {name for name, value in variables.items() if value is None}
        values = {
            name: value for name, value in named_secrets.open_secrets(work, old).items() if name not in deleted_names
        } | new
        if new:
            environment.check_total(values, work.limits)
    sealed = named_secrets.reseal(work, company_id, PURPOSE, values, old)
    if sealed != old:
        work.record(company_id, [CompanyEnvironmentChanged(environment=sealed)])
    return company_id


def create_key(work: UnitOfWork, principal: Principal, draft: ApiKeyCreate) -> NewKey:
    """
    Create a key for one collection; its token is shown in one reply and never again.

    Only board users with the right to assign may create one, since it can fire there. Raises InvalidField for a key
    that would outlive the caller's.
    """
    require_board(principal)
    company_id = names.collection(work, principal, draft.collection_name, "entrust")
    token = tokens.mint_for_collection()
    key = KeyIssued(name=draft.name, collection_id=company_id, prefix=tokens.visible_prefix(token))
    return keys.issue(work, principal, token, company_id, key, draft.expires_at, "expires_at")


def may_list_keys(work: UnitOfWork, principal: Principal, collection: str) -> UUID:
    """Return the company; raise Forbidden for keys of collections, so that a leaked one does not lead to the others."""
    company_id = names.collection(work, principal, collection)
    require_board(principal)
    return company_id


def revoke_key(work: UnitOfWork, principal: Principal, collection: str, key_id: UUID) -> UUID:
    """Revoke a key of the collection; its token is unknown from the next request on."""
    require_board(principal)
    company_id = names.collection(work, principal, collection, "administer")
    key = work.get(KEY, key_id)
    if key is None or key.collection_id != company_id:
        raise NotFound
    work.record(key_id, access.revoke(key))
    return key_id


def own_company(principal: Principal) -> UUID | None:
    """Return the company that the caller's key is bound to; None for other keys."""
    return principal.company_id if isinstance(principal, CollectionCaller) else None


def is_admin(principal: Principal) -> bool:
    """Return whether the caller is an admin or an auditor of the instance, who see all collections."""
    return isinstance(principal, BoardUser) and (principal.instance_admin or principal.instance_auditor)
