"""
The environment variables of a routine: what its work gets beside its texts.

Values are in the vault; events hold the names. Only the agent that works on an issue of the routine gets the values.
"""

from collections.abc import Mapping
from uuid import UUID

from msgspec import UNSET, UnsetType

from application.access import AgentCaller, Principal, Resource, authorize
from application.event_store.stream_kinds import COMPANY, ISSUE, ROUTINE
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.routines import EnvBinding, PlainBinding
from application.use_cases import named_secrets
from domain.board import issue
from domain.errors import Conflict, Forbidden, InvalidField
from domain.jetty import environment
from domain.values import RoutineEnvironment, Sealed, Value

PURPOSE = "routine environment"
FIELD = "env"


class IssueEnvironment(Value, frozen=True):
    """The variables for the work on an issue, and the names of those that have no value any more."""

    variables: dict[str, str]
    missing: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.variables)} variables)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("variables", len(self.variables))]


def bind(  # noqa: PLR0913, PLR0917 whose environment it is
    work: UnitOfWork,
    principal: Principal,
    company_id: UUID,
    routine_id: UUID,
    bindings: Mapping[str, EnvBinding] | None | UnsetType,
    old: RoutineEnvironment | None = None,
) -> RoutineEnvironment | None:
    """
    Return the environment that a request asks for, with its values in the vault; the old one if it asks for none.

    A mask keeps the value that there is. Raises InvalidField for what cannot be a variable or refers to nothing, and
    Forbidden for an agent that would bind a variable of the company, whose value it would get to know.
    """
    if bindings is UNSET:
        return old
    old = old or RoutineEnvironment()
    texts = {name: binding.value for name, binding in (bindings or {}).items() if isinstance(binding, PlainBinding)}
    references = {
        name: binding.name for name, binding in (bindings or {}).items() if not isinstance(binding, PlainBinding)
    }
    environment.check_new({**texts, **dict.fromkeys(references, "")}, FIELD)
    new_references = {
        name: reference for name, reference in references.items() if old.references.get(name) != reference
    }
    _check_references(work, principal, company_id, new_references)
    values = named_secrets.unmask(work, texts, old.sealed, FIELD)
    environment.check_total({**values, **references}, work.limits, FIELD)
    if old.sealed is None:
        sealed = named_secrets.seal(work, routine_id, PURPOSE, values, company_id)
    else:
        sealed = named_secrets.reseal(work, routine_id, PURPOSE, values, old.sealed)
    return RoutineEnvironment(sealed=sealed, references=references) if sealed or references else None


def of_issue(work: UnitOfWork, principal: Principal, issue_id: UUID, session: UUID | None) -> IssueEnvironment:
    """Return the environment for the work on an issue, for the agent that has checked it out in this session."""
    authorize(work, principal, "work", Resource(company_id=work.owner_of(ISSUE, issue_id), kind="Issue"))
    current = work.get(ISSUE, issue_id)
    if current is None or not isinstance(principal, AgentCaller):
        raise Forbidden("Only the agent that works on the issue gets its environment")
    issue.must_be_worked_on_by(current, principal.agent_id, session)
    if current.checkout_run_id is None:
        raise Conflict("Check the issue out first")
    routine = work.get(ROUTINE, current.routine_id)
    if routine is None or (env := routine.settings.env) is None:
        return IssueEnvironment(variables={})
    company = work.get(COMPANY, work.company_of(issue_id))
    of_company = _open_values(work, company.environment if company and env.references else None)
    referenced_values = {
        name: of_company[reference] for name, reference in env.references.items() if reference in of_company
    }
    variables = _open_values(work, env.sealed) | referenced_values
    names = (*(env.sealed.names if env.sealed else ()), *env.references)
    return IssueEnvironment(variables=variables, missing=tuple(name for name in names if name not in variables))


def _check_references(work: UnitOfWork, principal: Principal, company_id: UUID, references: Mapping[str, str]) -> None:
    if not references:
        return
    if isinstance(principal, AgentCaller):
        raise Forbidden("Board access required to bind variables of the company")
    company = work.get(COMPANY, company_id)
    known_names = company.environment.names if company and company.environment else ()
    for name, reference in references.items():
        if reference not in known_names:
            raise InvalidField(
                f"{FIELD}.{name}: the company's environment has no variable {reference!a}", f"{FIELD}.{name}"
            )


def _open_values(work: UnitOfWork, sealed: Sealed | None) -> dict[str, str]:
    """Return the values; none of those that are not in the vault any more."""
    try:
        return named_secrets.open_secrets(work, sealed)
    except named_secrets.SecretsLost:
        return {}
