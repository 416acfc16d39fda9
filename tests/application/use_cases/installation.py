"""An installation in memory: an instance admin, a company with an agent, and a clock that stands still until it is set."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from application.access import Caller
from application.event_store.in_memory import MemoryRecorder
from application.event_store.store import EventStore
from application.execute import Executor
from application.request_bodies.board import AgentDraft, AgentKeyDraft, CompanyDraft, MemberDraft
from application.request_bodies.issues import IssueDraft, IssuePatch
from application.request_bodies.jetty import ApiKeyCreate, CadenceConfig, CollectionCreate, RoutineCreate, TaskCreate
from application.request_bodies.routines import RoutineDraft, RunRequest
from application.request_bodies.triggers import ScheduleDraft
from application.use_cases import routines, runs, triggers
from application.use_cases.board import agents, companies, issues, keys, members
from application.use_cases.jetty import collections, task_routines, tasks
from application.use_cases.names import RoutinePath, TaskPath
from domain.bounds.limits import Limits
from domain.identity import issue_of_run
from domain.routines.trigger import DueTrigger

NOON = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
WORKFLOW = {"init_params": {"q": "?"}, "step_configs": {"ask": {"activity": "llm"}}, "steps": ["ask"]}
ECHO = {
    "init_params": {"text": "hello"},
    "step_configs": {"say": {"activity": "text_echo", "text_path": "init_params.text"}},
    "steps": ["say"],
}


class MemoryVault:
    """What the vault does, without its encryption."""

    def __init__(self):
        self.secrets = {}

    def keep(self, secrets):
        self.secrets |= {kept.id: kept.secret for kept in secrets}

    def discard(self, ids):
        for id_ in ids:
            self.secrets.pop(id_, None)

    def open(self, ids):
        return {id_: self.secrets[id_] for id_ in ids if id_ in self.secrets}


class Installation:
    """`ask` carries out a use case for a caller (the instance admin, unless another is given)."""

    def __init__(self, **limits):
        self.now = NOON
        self.vault = MemoryVault()
        self.store = EventStore(MemoryRecorder(), Limits(**limits))
        self.executor = Executor(self.store, lambda: self.now, self.vault)  # type: ignore[arg-type]
        self.admin = Caller(token=self.executor.attempt(keys.mint_first).result.token)
        self.company = self.ask(companies.create, CompanyDraft(name="Acme"))
        self.agent = self.ask(agents.create, self.company, AgentDraft(name="Scout")).agent_id
        self._numbers = count(1)

    def ask(self, use_case, *args, caller=None, **kwargs):
        return self.executor.execute(caller or self.admin, use_case, *args, **kwargs).result

    def carry_out(self, decide, *args, **kwargs):
        """What the service does by itself."""
        return self.executor.attempt(lambda work: decide(work, *args, **kwargs)).result

    def state(self, kind, id_):
        return self.executor.query(lambda work: work.get(kind, id_))

    def events(self, *kinds):
        """All that happened of these kinds, in order."""
        return [recorded.event for recorded in self.store.history() if isinstance(recorded.event, kinds)]

    def ids(self, kind):
        """The streams in which it happened, in order."""
        return [recorded.stream_id for recorded in self.store.history() if isinstance(recorded.event, kind)]

    def passes(self, time):
        self.now += time

    def other_company(self):
        return self.ask(companies.create, CompanyDraft(name="Other"))

    def member(self, role="member", company=None, **fields):
        """A new member of the company."""
        draft = MemberDraft(name="Robin", membership_role=role, **fields)
        return Caller(token=self.ask(members.add, company or self.company, draft).key.token)

    def auditor(self):
        """An auditor of the whole installation."""
        return Caller(token=self.executor.attempt(lambda work: keys.mint_for_auditor(work, "Ada")).result.token)

    def as_agent(self, agent=None):
        return Caller(token=self.ask(keys.create_for_agent, agent or self.agent, AgentKeyDraft()).token)

    def another_agent(self, company=None, name="Rover", **fields):
        return self.ask(agents.create, company or self.company, AgentDraft(name=name, **fields)).agent_id

    def routine(self, **fields):
        draft = RoutineDraft(**{"title": "Check the inbox", "assignee_agent_id": self.agent} | fields)
        return self.ask(routines.create, self.company, draft)

    def schedule(self, routine, cron="0 * * * *", **fields):
        return self.ask(triggers.create, routine, ScheduleDraft(cron_expression=cron, **fields)).trigger_id

    def due(self, trigger, at):
        """The row by which the scheduler knows of an occurrence."""
        routine, version = self.executor.query(
            lambda work: (triggers.get_trigger(work, trigger).routine_id, work.version_of(trigger))
        )
        return DueTrigger(
            trigger_id=trigger, trigger_version=version, routine_id=routine, company_id=self.company, next_at=at
        )

    def fire(self, routine, **fields):
        """The run of a firing by hand."""
        return self.ask(runs.fire_by_hand, routine, RunRequest(**fields))[0].stream_id

    def issue(self, **fields):
        return self.ask(issues.create, self.company, IssueDraft(**{"title": "Look"} | fields))

    def finish(self, run):
        """The issue of the run is done."""
        self.ask(issues.update, issue_of_run(run), IssuePatch(status="done"), None)

    def collection(self):
        """The name of a new collection, and a caller with its key."""
        name = f"org-{next(self._numbers)}"
        self.ask(collections.create, CollectionCreate(name=name))
        key = self.ask(collections.create_key, ApiKeyCreate(name="ci", collection_name=name))
        return name, Caller(token=key.token, by_jetty=True)

    def task(self, collection, workflow=WORKFLOW):
        path = TaskPath(collection=collection, task=f"task-{next(self._numbers)}")
        self.ask(tasks.create, collection, TaskCreate(name=path.task, workflow=workflow))
        return path

    def task_routine(self, task, kind="manual", **fields):
        """A routine that calls the task."""
        path = RoutinePath(collection=task.collection, task=task.task, name=f"routine-{next(self._numbers)}")
        minute: dict[str, Any] = {} if kind == "manual" else {"minute_utc": 0}
        cadence = CadenceConfig(type=kind, **minute)
        self.ask(task_routines.create, task, RoutineCreate(name=path.name, cadence=cadence, **fields))
        return path
