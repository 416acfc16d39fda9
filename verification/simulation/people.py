"""What people and agents do to routines, at random; a refusal is an answer, too."""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any, Protocol
from uuid import UUID

import msgspec

from application.access import AgentCaller
from application.event_store.stream_kinds import ISSUE
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.board import AgentDraft, CompanyDraft, ProjectDraft
from application.request_bodies.issues import Checkout, IssuePatch
from application.request_bodies.routines import (
    BackfillDraft,
    ProbeDraft,
    RetryPolicyDraft,
    RoutineDraft,
    RoutinePatch,
    RunRequest,
)
from application.request_bodies.triggers import ChainDraft, ScheduleDraft, TriggerPatch
from application.use_cases import backfills, revisions, routines, runs, triggers
from application.use_cases.board import agents, companies, issues, projects
from domain.board.issue import OPEN
from domain.identity import revision_of
from domain.values import CatchUpPolicy, ChainOutcome, ConcurrencyPolicy, Overlap

CALM = (
    "30 2 * * *",
    "0 9 * * 1-5",
    "15 3 1,15 * *",
    "5 4 * * SUN",
    "45 23 28-31 * *",
    "0 12 1 * MON",
    "0 0 * * SUN,WED",
)
DENSE = ("0 * * * *", "15 * * * *", "*/30 * * * *", "20 */2 * * *", "0,30 8-18 * * *")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca")
CONCURRENCY: tuple[ConcurrencyPolicy, ...] = (
    "coalesce_if_active",
    "skip_if_active",
    "always_enqueue",
    "cancel_previous",
)
CATCH_UP: tuple[CatchUpPolicy, ...] = ("skip_missed", "skip_missed", "enqueue_missed_with_cap")
CHAINS: tuple[ChainOutcome, ...] = ("succeeded", "failed", "any", "any")
OVERLAPS: tuple[Overlap, ...] = ("one_at_a_time", "policy")
STATUSES = ("done", "done", "done", "done", "cancelled", "blocked", "in_progress")
POLICIES = (
    None,
    RetryPolicyDraft(max_attempts=2, backoff_seconds=600),
    RetryPolicyDraft(max_attempts=4, backoff_seconds=7_200, backoff_factor=3.0, max_backoff_seconds=86_400),
    RetryPolicyDraft(max_attempts=3, backoff_seconds=60, retry_on=("failure",)),
)
DAY = timedelta(days=1)


class Ask(Protocol):
    """Carries out a use case for a person; None when the answer is no."""

    def __call__(self, use_case: Callable[..., Any], *args: object) -> Any: ...


class Routine(msgspec.Struct):
    """What people know of a routine of theirs."""

    id: UUID
    triggers: list[UUID]
    revisions: int = 2
    link: UUID | None = None  # the trigger by which it runs after another


class People:
    """One company, two agents, a project, and routines; `dense` schedules run by the hour, others by the day."""

    def __init__(self, seed: str, ask: Ask, clock: Callable[[], datetime], *, dense: bool) -> None:
        self._ask = ask
        self._clock = clock
        self._seed = seed
        self._random = Random(seed)
        self._leasing = Random(f"{seed}/leases")
        self._crons = self._random.sample(DENSE if dense else CALM, 4)  # people of one company are alike
        self._zones = self._random.sample(ZONES, 3)
        self._company: UUID = ask(companies.create, CompanyDraft(name="Acme"))
        self._agents: list[UUID] = [
            ask(agents.create, self._company, AgentDraft(name=name)).agent_id for name in ("One", "Two")
        ]
        self._project: UUID = ask(projects.create, self._company, ProjectDraft(name="Move"))
        self.routines: list[Routine] = []

    def open_routine(self) -> Random:
        """Create a routine with a schedule; return what draws its further story."""
        random = Random(f"{self._seed}/{len(self.routines)}")
        draft = RoutineDraft(
            title="Check",
            assignee_agent_id=random.choice(self._agents),
            concurrency_policy=random.choice(CONCURRENCY),
            catch_up_policy=random.choice(CATCH_UP),
            max_run_duration_sec=random.choice([None, None, None, 3_600, 86_400, 864_000]),
            retry_policy=random.choice(POLICIES),
            **self._draw_guards(random.random()),
        )
        routine = Routine(self._ask(routines.create, self._company, draft), [])
        self.routines.append(routine)
        self._add(routine, random)
        return random

    def change(self, index: int, random: Random) -> str:
        """Let somebody do something to a routine; return what."""
        routine = self.routines[index]
        usual_actions = (
            self._edit_schedule,
            self._edit_schedule,
            self._switch_trigger,
            self._switch_trigger,
            self._pause,
            self._pause,
            self._resume,
            self._resume,
        )
        rare_actions = (
            self._relabel_trigger,
            self._change_policies,
            self._change_policies,
            self._add,
            self._delete,
            self._restore,
            self._fire,
            self._request_backfill,
            self._add_chain,
            self._add_chain,
            self._remove_chain,
        )
        action = random.choice(usual_actions + rare_actions) if random.random() > 0.004 else self._archive_routine
        action(routine, random)
        routine.revisions += 1
        return f"somebody: {action.__name__.strip('_')}"

    def rearrange(self) -> str:
        """Pause an agent or the project, or let it go on."""
        random = self._random
        if random.random() < 0.3:
            action: Callable[..., object] = random.choice([projects.pause, projects.resume, projects.resume])
            self._ask(action, self._project)
        else:
            is_pause, agent = random.random() < 0.2, random.choice(self._agents)
            action = agents.pause if is_pause else agents.resume
            self._ask(action, agent, *(["manual"] if is_pause else []))
        return f"somebody: {action.__module__.rsplit('.', 1)[-1]}.{action.__name__}"

    def work_on(self, live: list[UUID], closed_ids: list[UUID]) -> None:
        """Let agents move open issues along and report failures, and people seldom open one again that was closed."""
        random = self._random
        moved_ids = [id_ for id_ in live if random.random() < 0.7]
        if closed_ids and random.random() < 0.2:
            moved_ids.append(random.choice(closed_ids))
        statuses: list[Any] = [random.choice(STATUSES) if id_ not in closed_ids else "todo" for id_ in moved_ids]

        def move(work: UnitOfWork, principal: Any) -> None:
            work.load(moved_ids)
            for id_, status in zip(moved_ids, statuses, strict=True):
                issues.update(work, principal, id_, IssuePatch(status=status), None)

        self._ask(move)
        for id_ in random.sample(live, min(len(live), 5)):
            self._ask(_fail, id_)
        self._lease_some(live)

    def _lease_some(self, live: list[UUID]) -> None:
        """Let workers take some open issues by a lease; they renew it, or vanish."""
        random, session = self._leasing, UUID(int=self._leasing.getrandbits(128), version=4)
        lease_times = {id_: random.choice([60, 3_600, 86_400]) for id_ in live if random.random() < 0.2}

        def check_out(work: UnitOfWork, principal: Any) -> None:
            for id_, lease_s in lease_times.items():
                issue = work.get(ISSUE, id_)
                if issue is None or issue.status not in OPEN or (assignee := issue.details.assignee_agent_id) is None:
                    continue
                holder = issue.checkout_run_id or session
                request = Checkout(agent_id=assignee, expected_statuses=tuple(OPEN), lease_seconds=lease_s)
                issues.check_out(work, principal, id_, request, holder)

        self._ask(check_out)

    def _schedule(self, random: Random) -> dict[str, Any]:
        now = self._clock().replace(microsecond=0)
        if random.random() < 0.05:
            return {"run_at": now + random.random() * 30 * DAY, "cron_expression": None, "timezone": "UTC"}
        cron, zone = random.choice(self._crons), random.choice(self._zones)
        fields: dict[str, Any] = {"cron_expression": cron, "timezone": zone, "run_at": None}
        if random.random() < 0.1:
            fields["jitter_sec"] = random.choice([1, 30, 300, 3_600])
        if random.random() < 0.15:
            fields["starts_at"] = now + random.random() * 20 * DAY
        if random.random() < 0.15:
            fields["ends_at"] = now + (20 + random.random() * 200) * DAY
        if random.random() < 0.15:
            fields["excluded_dates"] = tuple((now + random.randrange(60) * DAY).date() for _ in range(5))
        return fields

    def _add(self, routine: Routine, random: Random) -> None:
        if len(routine.triggers) < 2 and (
            trigger := self._ask(triggers.create, routine.id, ScheduleDraft(**self._schedule(random)))
        ):
            routine.triggers.append(trigger.trigger_id)

    def _edit_schedule(self, routine: Routine, random: Random) -> None:
        blank: dict[str, Any] = {"jitter_sec": 0, "starts_at": None, "ends_at": None, "excluded_dates": ()}
        self._patch_trigger(routine, random, TriggerPatch(**(blank | self._schedule(random))))

    def _relabel_trigger(self, routine: Routine, random: Random) -> None:
        self._patch_trigger(routine, random, TriggerPatch(label="new"))

    def _switch_trigger(self, routine: Routine, random: Random) -> None:
        self._patch_trigger(routine, random, TriggerPatch(enabled=random.random() < 0.7))

    def _patch_trigger(self, routine: Routine, random: Random, patch: TriggerPatch) -> None:
        if routine.triggers:
            self._ask(triggers.update, random.choice(routine.triggers), patch)

    def _delete(self, routine: Routine, random: Random) -> None:
        if len(routine.triggers) > 1:
            trigger_id = random.choice(routine.triggers)
            routine.triggers.remove(trigger_id)
            self._ask(triggers.delete, trigger_id)

    def _pause(self, routine: Routine, random: Random) -> None:
        until = self._clock() + random.random() * 10 * DAY if random.random() < 0.7 else None
        self._ask(routines.update, routine.id, RoutinePatch(status="paused", resume_at=until))

    def _resume(self, routine: Routine, random: Random) -> None:
        assignee = random.choice(self._agents)
        self._ask(routines.update, routine.id, RoutinePatch(status="active", assignee_agent_id=assignee))

    def _archive_routine(self, routine: Routine, _random: Random) -> None:
        self._ask(routines.update, routine.id, RoutinePatch(status="archived"))

    def _change_policies(self, routine: Routine, random: Random) -> None:
        patch = RoutinePatch(
            concurrency_policy=random.choice(CONCURRENCY),
            catch_up_policy=random.choice(CATCH_UP),
            max_run_duration_sec=random.choice([None, None, None, 3_600, 86_400]),
            retry_policy=random.choice(POLICIES),
            **self._draw_guards(random.random()),
        )
        self._ask(routines.update, routine.id, patch)

    def _draw_guards(self, number: float) -> dict[str, Any]:
        """Draw what a firing meets: one routine in four has an activity gate, one in five a probe, some have both."""
        has_gate, has_probe = number < 0.25, 0.15 < number < 0.35
        return {
            "activity_gate_policy": "require_external_activity" if has_gate else "always",
            "activity_gate_scope": "project" if has_gate and number < 0.1 else "company",
            "project_id": self._project if number < 0.3 else None,
            "probe": ProbeDraft(url="https://example.com", if_unanswered="fire" if number < 0.25 else "skip")
            if has_probe
            else None,
        }

    def _restore(self, routine: Routine, random: Random) -> None:
        self._ask(revisions.restore, routine.id, revision_of(routine.id, random.randint(2, routine.revisions)))

    def _fire(self, routine: Routine, random: Random) -> None:
        key = random.choice([None, "a", "b"])
        self._ask(runs.fire_by_hand, routine.id, RunRequest(idempotency_key=key))

    def _add_chain(self, routine: Routine, random: Random) -> None:
        other = random.choice(self.routines)
        wanted_outcome = random.choice(CHAINS)
        if routine.link is None:
            result = self._ask(
                triggers.create, routine.id, ChainDraft(after_routine_id=other.id, after_outcome=wanted_outcome)
            )
            routine.link = result.trigger_id if result else None
        else:
            patch = TriggerPatch(after_routine_id=other.id, after_outcome=wanted_outcome, enabled=random.random() < 0.8)
            self._ask(triggers.update, routine.link, patch)

    def _remove_chain(self, routine: Routine, _random: Random) -> None:
        if routine.link is not None:
            self._ask(triggers.delete, routine.link)
            routine.link = None

    def _request_backfill(self, routine: Routine, random: Random) -> None:
        begin = self._clock() - random.random() * 10 * DAY
        end = begin + random.random() * 3 * DAY if random.random() < 0.5 else None
        overlap = random.choice(OVERLAPS)
        if routine.triggers:
            draft = BackfillDraft(from_=begin, to=end, overlap=overlap)
            self._ask(backfills.create, random.choice(routine.triggers), draft)


def _fail(work: UnitOfWork, _principal: object, issue_id: UUID) -> None:
    """Let the agent that has the issue report that its attempt has failed, if it is not over yet."""
    current = work.get(ISSUE, issue_id)
    if current is None or current.status not in OPEN or current.details.assignee_agent_id is None:
        return
    agent = AgentCaller(agent_id=current.details.assignee_agent_id, company_id=work.company_of(issue_id))
    report = IssuePatch(status="cancelled", failure_reason="exit status 1")
    issues.update(work, agent, issue_id, report, current.checkout_run_id)
