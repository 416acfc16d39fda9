"""A short way to a log with everything in it: use cases at times of our choosing, over a real database."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from application.access import Caller
from application.execute import Executor
from application.request_bodies.board import (
    AgentDraft,
    AgentKeyDraft,
    AgentPatch,
    BoardKeyDraft,
    CompanyDraft,
    CompanyPatch,
    FolderDraft,
    FolderPatch,
    GoalDraft,
    GoalPatch,
    MemberDraft,
    MemberPatch,
    ProjectDraft,
    ProjectPatch,
)
from application.request_bodies.budgets import UsageReport
from application.request_bodies.endpoints import EndpointDraft, EndpointPatch
from application.request_bodies.issues import Checkout, CommentDraft, IssueDraft, IssuePatch
from application.request_bodies.jetty import (
    ApiKeyCreate,
    CadenceConfig,
    CollectionCreate,
    EnvironmentChange,
    FinishRequest,
    IngestCreate,
    LabelCreate,
    RoutineChange,
    RoutineCreate,
    RunCreate,
    StepReport,
    TaskChange,
    TaskCreate,
    TrajectoryUsage,
)
from application.request_bodies.routines import (
    AlertBoundsDraft,
    BackfillDraft,
    ProbeDraft,
    RetryPolicyDraft,
    RoutineDraft,
    RoutinePatch,
    RunRequest,
    VariableDraft,
)
from application.request_bodies.triggers import ApiDraft, ChainDraft, ScheduleDraft, TriggerPatch, WebhookDraft
from application.use_cases import (
    alerts,
    backfills,
    chains,
    deadlines,
    endpoints,
    erasure,
    folders,
    probes,
    revisions,
    routines,
    runs,
    schedule_firing,
    triggers,
    webhooks,
    zone_data,
)
from application.use_cases import delivery_attempts as post
from application.use_cases.board import agents, companies, goals, issues, keys, members, projects, sessions
from application.use_cases.jetty import collections, task_routines, tasks, trajectories
from application.use_cases.names import RoutinePath, TaskPath
from domain.delivery.delivery import Answer
from domain.events import TriggerRescheduled
from domain.identity import issue_of_run, revision_of
from domain.routines.deadline import Overdue
from domain.routines.probe import PendingProbe
from domain.values import ProbeFinding
from domain.webhooks.verification import WebhookRequest
from projections import catalogue
from projections.delivery import pending_deliveries
from projections.delivery.deliveries import deliveries
from projections.engine import positions
from projections.engine.folding import fold_batch
from projections.firing import backfills as waiting_backfills
from projections.firing import chains as waiting_chains
from projections.firing import triggers_due, troubles
from web.paperclip.webhook_requests import parse_call

START = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
USAGE = UsageReport(cost_micros=184_000, input_tokens=12_000, output_tokens=850)
SESSION = UUID("5e551017-0000-4000-8000-000000000001")


class Story:
    """Each method is one use case of the first board user, and gives its result."""

    def __init__(self, store, conn, vault, caller=None):
        self.store, self.conn, self.now = store, conn, START
        self.executor = Executor(store, lambda: self.now, vault)
        self.caller = caller or Caller(token=self.executor.attempt(keys.mint_first).result.token)
        self.ids = {}

    def ask(self, use_case, *args, caller=None):
        return self.executor.execute(caller or self.caller, use_case, *args).result

    def company(self, name="Acme"):
        return self.ask(companies.create, CompanyDraft(name=name))

    def agent(self, company_id, name="Scout", **fields):
        return self.ask(agents.create, company_id, AgentDraft(name=name, **fields)).agent_id

    def project(self, company_id, name="Move", **fields):
        return self.ask(projects.create, company_id, ProjectDraft(name=name, **fields))

    def goal(self, company_id, title="Grow", **fields):
        return self.ask(goals.create, company_id, GoalDraft(title=title, **fields))

    def routine(self, company_id, agent_id, title="Check", **fields):
        return self.ask(routines.create, company_id, RoutineDraft(title=title, assignee_agent_id=agent_id, **fields))

    def change(self, routine_id, **fields):
        return self.ask(routines.update, routine_id, RoutinePatch(**fields))

    def schedule(self, routine_id, cron="0 * * * *", **fields):
        return self.ask(triggers.create, routine_id, ScheduleDraft(cron_expression=cron, **fields)).trigger_id

    def by_code(self, routine_id, **fields):
        return self.ask(triggers.create, routine_id, ApiDraft(**fields)).trigger_id

    def after(self, routine_id, other_id, **fields):
        """A chain: the routine runs when a run of the other has ended."""
        return self.ask(triggers.create, routine_id, ChainDraft(after_routine_id=other_id, **fields)).trigger_id

    def carry_on_chains(self):
        """What the scheduler does when runs have ended that others wait for; gives what was due."""
        while positions.advance(self.conn, [waiting_chains.chains], self.store.after):
            pass
        rows = waiting_chains.due(self.conn, limit=1000)
        self.executor.attempt(lambda work: chains.fire_due(work, rows), actor="scheduler")
        return rows

    def webhook(self, routine_id, **fields):
        """The address and secret of a new bearer webhook: the only kind that needs no key."""
        return self.ask(triggers.create, routine_id, WebhookDraft(**fields)).new_secret

    def call(self, webhook_secret, payload=None):
        """The run that somebody who knows the secret fires."""
        body = b"" if payload is None else msgspec.json.encode(payload)
        request = WebhookRequest(headers=(("authorization", f"Bearer {webhook_secret.secret}"),), body=body)

        def decide(work):
            webhook = webhooks.authenticate(work, webhook_secret.public_id, request)
            return webhooks.fire(work, webhook, parse_call(request, self.store.limits.max_webhook_bytes))

        return self.executor.attempt(decide).result[0]

    def rotate(self, trigger_id, overlap_s=0):
        return self.ask(triggers.rotate_secret, trigger_id, overlap_s).new_secret

    def restore(self, routine_id, number):
        return self.ask(revisions.restore, routine_id, revision_of(routine_id, number))

    def fire(self, routine_id, **fields):
        return self.ask(runs.fire_by_hand, routine_id, RunRequest(**fields))[0].stream_id

    def issue(self, company_id, title="Look", **fields):
        return self.ask(issues.create, company_id, IssueDraft(title=title, **fields))

    def patch(self, issue_id, **fields):
        return self.ask(issues.update, issue_id, IssuePatch(**fields), None)

    def passes(self, time):
        self.now += time

    def tick(self):
        """What the scheduler does: everything that is due is settled."""
        read = self.store.after
        while positions.advance(self.conn, [triggers_due.triggers_due], read):
            pass
        rows = triggers_due.due(self.conn, self.now, limit=1000)
        return self.executor.attempt(lambda work: schedule_firing.fire_due(work, rows), actor="scheduler").result

    def project_all(self, limit=positions.BATCH):
        """Brings every read model to the head of the log."""
        while positions.advance(self.conn, catalogue.ALL, self.store.after, limit):
            pass

    def tell(self):  # noqa: PLR0915 it is a long story
        """The whole story; gives itself."""
        acme, twin = self.company(), self.company()
        self.ask(companies.update, twin, CompanyPatch(name="Twin", description="The other"))
        self.ask(companies.archive, twin)
        self.executor.attempt(lambda work: erasure.erase_company(work, twin, "It is over"))
        robin = self.ask(members.add, acme, MemberDraft(name="Robin")).user_id
        seat = members.MembershipRef(company_id=acme, user_id=robin, owners=())
        self.ask(members.change, seat, MemberPatch(membership_role="viewer"))
        self.ask(members.remove, seat)
        self.executor.attempt(lambda work: erasure.erase_user(work, robin, "They asked for it", [acme], []))
        scout, rover = self.agent(acme), self.agent(acme, "Scout", reports_to=None)
        gone = self.agent(acme, "Gone", adapter_config={"a": [1, None]})
        self.ask(agents.update, rover, AgentPatch(title="Deputy", reports_to=scout))
        self.ask(agents.pause, rover, "holiday")
        self.ask(agents.terminate, gone)
        key = self.ask(keys.create_for_agent, scout, AgentKeyDraft())
        self.ask(keys.revoke_agent_key, rover, self.ask(keys.create_for_agent, rover, AgentKeyDraft(name="old")).key_id)
        self.ask(keys.revoke_board_key, self.ask(keys.create_for_board, BoardKeyDraft()).key_id)
        self.ask(sessions.open_session)
        self.ask(sessions.close_all)
        grow, shrink = self.goal(acme), self.goal(acme, "Shrink")
        self.ask(goals.update, grow, GoalPatch(status="active", owner_agent_id=scout))
        self.ask(goals.delete, shrink)
        nightly = self.ask(folders.create, acme, FolderDraft(name="Nightly"))
        emptied = self.ask(folders.create, acme, FolderDraft(name="Empty", parent_id=nightly))
        self.ask(folders.update, acme, emptied, FolderPatch(name="Emptied"))
        self.ask(lambda *request: folders.delete(*request, in_use=False), acme, emptied)
        move, old = self.project(acme, goal_id=grow), self.project(acme, "Old")
        self.ask(projects.update, move, ProjectPatch(color="#fff", lead_agent_id=scout))
        self.ask(projects.delete, old)
        parent = self.issue(acme, "Parent", project_id=move)

        self.passes(MINUTE)
        joins = self.routine(acme, scout, "Joins", parent_issue_id=parent, goal_id=grow, description="d")
        skips = self.routine(acme, scout, "Skips", concurrency_policy="skip_if_active", project_id=move)
        piles = self.routine(
            acme,
            scout,
            "Piles",
            concurrency_policy="always_enqueue",
            catch_up_policy="enqueue_missed_with_cap",
            max_run_duration_sec=2_592_000,
        )
        fails = self.routine(acme, rover, "Fails")
        idle = self.routine(acme, None, "Idle", pause_note="nobody yet", resume_at=START + 30 * DAY)
        archived = self.routine(acme, scout, "Archived")
        hourly = {id_: self.schedule(id_) for id_ in (joins, skips, piles, fails, idle, archived)}
        api = self.by_code(joins, label="by code")
        after = self.after(skips, joins, after_outcome="any")
        self.after(idle, piles)
        extra = self.schedule(joins, "*/5 * * * *", enabled=False)
        removed = self.schedule(skips, "* * * * *")
        self.ask(triggers.update, extra, TriggerPatch(label="five", cron_expression="*/10 * * * *"))
        self.ask(triggers.delete, removed)
        self.change(archived, status="archived")
        named = self.routine(acme, scout, "For {{who}}", variables=(VariableDraft(name="who", default_value="all"),))
        door, nightly = self.webhook(named, label="door"), self.schedule(named, "30 2 * * *", jitter_sec=600)
        self.call(door, {"who": "Zo"})

        self.passes(HOUR)
        self.tick()
        self.passes(HOUR)
        self.tick()
        self.ask(projects.pause, move)
        self.passes(HOUR)
        self.tick()
        self.ask(projects.resume, move)
        self.change(skips, status="paused")
        self.passes(2 * DAY)
        self.tick()
        self.change(skips, status="active", title="Skips again")
        self.change(idle, assignee_agent_id=scout, status="active")

        by_agent = Caller(token=key.token, run_id=SESSION)
        opened = [one for one in self.opened() if one.event.routine_id is not None]
        first, second, third = (one.stream_id for one in opened[:3])
        self.ask(
            issues.check_out, first, Checkout(agent_id=scout, expected_statuses=("todo",)), SESSION, caller=by_agent
        )
        self.ask(issues.comment, first, CommentDraft(body="On it"), SESSION, caller=by_agent)
        done = IssuePatch(status="done", comment="Done", outputs={"articles": 3}, usage=USAGE)
        self.ask(issues.update, first, done, SESSION, caller=by_agent)
        self.carry_on_chains()
        self.ask(triggers.update, after, TriggerPatch(after_outcome="failed"))
        self.patch(second, status="blocked", title="Stuck")
        self.patch(third, status="cancelled")
        self.patch(third, status="in_progress")
        self.ask(issues.release, third, None)
        self.passes(HOUR)
        self.tick()
        self.fire(joins, source="api", trigger_id=api, payload={"a": 1}, idempotency_key="once")
        self.fire(joins, source="api", trigger_id=api, payload={"a": 2}, idempotency_key="once")
        self.fire(idle)
        self.fire(skips)
        self.call(self.rotate(door.trigger_id, 60), {"who": "Al"})
        self.ask(triggers.delete, door.trigger_id)
        self.ask(triggers.delete, nightly)
        self.change(named, status="paused", title="For nobody")
        (door,) = self.restore(named, 3).new_secrets
        self.call(door)
        self.restore(joins, 1)
        self.adopt_zone_data(self.schedule(joins))
        child = self.issue(acme, "Child", parent_id=parent, assignee_agent_id=scout)
        self.issue(acme, "Grandchild", parent_id=child)
        self.patch(issue_of_run(self.fire(piles)), status="done")
        self.tell_of_attempts(acme, scout, by_agent)
        self.tell_of_alerts()
        self.tell_of_probes(acme, scout)
        self.tell_of_backfills(acme, scout)
        self.tell_of_tasks()
        self.tell_of_deliveries()
        self.ids |= {"acme": acme, "twin": twin, "scout": scout, "rover": rover, "move": move, "joins": joins}
        self.ids |= {"skips": skips, "piles": piles, "fails": fails, "idle": idle, "archived": archived}
        self.ids |= {"parent": parent, "first": first, "hourly": hourly[joins], "by hand": self.caller.token}
        return self

    def tell_of_attempts(self, company, agent, by_agent):
        """A run that waits for its next attempt; one whose last attempt fails, which is an alert; one that succeeds."""
        routine = self.routine(
            company,
            agent,
            "Tries",
            retry_policy=RetryPolicyDraft(max_attempts=2, backoff_seconds=1),
            alert_bounds=AlertBoundsDraft(overdue_after_sec=3_600),
            concurrency_policy="always_enqueue",
            max_run_duration_sec=2_592_000,
        )
        waits, fails, succeeds = [self.fire(routine) for _ in range(3)]
        report = IssuePatch(status="cancelled", failure_reason="exit status 1")
        for run in (waits, fails):
            self.ask(issues.update, issue_of_run(run), report, SESSION, caller=by_agent)
        self.patch(issue_of_run(fails), status="todo")
        self.ask(issues.update, issue_of_run(fails), report, SESSION, caller=by_agent)
        self.raise_alerts()
        self.ask(issues.update, issue_of_run(succeeds), IssuePatch(status="done"), SESSION, caller=by_agent)

    def tell_of_alerts(self):
        """What is in trouble for long is an alert, and some of it passes."""
        self.raise_alerts()
        for row in self.opened()[:40]:
            if row.event.run_id is not None:
                self.patch(row.stream_id, status="in_progress")
        self.passes(7 * HOUR)
        self.raise_alerts()
        self.raise_alerts()

    def raise_alerts(self):
        """What the scheduler does: it raises and closes the alerts that are due."""
        while positions.advance(self.conn, [troubles.troubles], self.store.after):
            pass
        rows = troubles.due(self.conn, self.now, limit=1000)
        return self.executor.attempt(lambda work: alerts.settle(work, rows), actor="scheduler").result

    def tell_of_probes(self, company, agent):
        """An occurrence that its probe holds back, and one that waits for the answer."""
        probed = ProbeDraft(url="https://example.com/queue")
        for title in ("Held back", "Waits"):
            trigger = self.schedule(self.routine(company, agent, title, probe=probed))
        self.passes(HOUR)
        self.now = self.now.replace(minute=0)
        self.tick()
        requested = [one for one in self.store.history() if type(one.event).__name__ == "ProbeRequested"]
        pending = PendingProbe(
            id=requested[0].stream_id,
            version=1,
            routine_id=requested[0].event.routine_id,
            company_id=company,
        )
        finding = ProbeFinding(verdict="failed", status=503, reason="The status is 503, and should be 2xx", took_ms=12)
        self.executor.attempt(lambda work: probes.record(work, pending, finding), actor="delivery")
        self.tick()
        self.ids["probed"] = trigger

    def tell_of_backfills(self, company, agent):
        """What is made up for: one range all at once, one in turn, one that somebody stops, one that is paused."""
        routine = self.routine(company, agent, "Makes up")
        trigger = self.schedule(routine)
        piles = self.schedule(self.routine(company, agent, "Piles up", concurrency_policy="always_enqueue"))
        self.ask(backfills.create, piles, BackfillDraft(from_=self.now - 30 * HOUR, overlap="policy"))
        in_turn = BackfillDraft(from_=self.now - 4 * HOUR, to=self.now - 2 * HOUR)
        self.ask(backfills.create, trigger, in_turn)
        self.make_up()
        self.patch(self.opened()[-1].stream_id, status="done")
        self.make_up()
        self.ask(backfills.cancel, self.ask(backfills.create, trigger, in_turn))
        last = self.ask(backfills.create, trigger, in_turn)
        self.change(routine, status="paused")
        self.make_up()
        self.ids |= {"made up": trigger, "backfill": last}

    def adopt_zone_data(self, trigger):
        """What the scheduler does when it goes by newer zone data: the schedule was planned for another moment by older."""

        def plan_by_older(work):
            next_at = triggers.get_trigger(work, trigger).next_unsettled_at
            work.record(trigger, [TriggerRescheduled(next_at=next_at + HOUR / 2)])

        self.executor.attempt(plan_by_older)
        while positions.advance(self.conn, [triggers_due.triggers_due], self.store.after):
            pass
        rows = triggers_due.coming_schedules(self.conn, self.now, after_id=UUID(int=0), limit=1000)
        assert 1 == self.executor.attempt(lambda work: zone_data.replan(work, rows), actor="scheduler").result
        self.executor.attempt(zone_data.adopt, actor="scheduler")

    def make_up(self):
        """What the scheduler does about backfills, until they wait or are over."""
        while True:
            while positions.advance(self.conn, [waiting_backfills.backfills], self.store.after):
                pass
            if not (waiting := waiting_backfills.waiting(self.conn, limit=10)):
                return
            self.executor.attempt(lambda work, waiting=waiting: backfills.carry_on(work, waiting), actor="scheduler")

    def tell_of_tasks(self):
        """What Jetty's clients do."""
        org = self.ask(collections.create, CollectionCreate(name="my-org"))
        self.ask(collections.change_environment, "my-org", EnvironmentChange(environment_variables={"TOKEN": "t"}))
        key = self.ask(collections.create_key, ApiKeyCreate(name="ci", collection_name="my-org"))
        self.ask(collections.revoke_key, "my-org", key.key_id)
        self.ask(collections.create_key, ApiKeyCreate(name="worker", collection_name="my-org"))
        asks, old = TaskPath(collection="my-org", task="asks"), TaskPath(collection="my-org", task="old")
        workflow = {"init_params": {"q": "?"}, "step_configs": {"ask": {"activity": "llm"}}, "steps": ["ask"]}
        for path in (asks, old):
            self.ask(tasks.create, "my-org", TaskCreate(name=path.task, workflow=workflow))
        self.ask(tasks.update, asks, TaskChange(description="Asks"))
        cadence = CadenceConfig(type="hourly", minute_utc=10)
        draft = RoutineCreate(
            name="often", cadence=cadence, secret_params={"k": "v"}, webhook_url="https://example.com/done"
        )
        often = self.ask(task_routines.create, asks, draft)
        self.ask(task_routines.create, old, RoutineCreate(name="goes", cadence=CadenceConfig(type="manual")))
        self.passes(HOUR)
        self.tick()
        self.passes(HOUR)
        self.tick()
        path = RoutinePath(collection="my-org", task="asks", name="often")
        self.ask(task_routines.update, path, RoutineChange(name="hourly", init_params_overrides={"q": "!"}))
        path = RoutinePath(collection="my-org", task="asks", name="hourly")
        self.ask(task_routines.pause, path)
        self.ask(task_routines.resume, path)
        second = self.ask(task_routines.run_now, path)
        first = next(one.stream_id for one in self.store.history() if type(one.event).__name__ == "TrajectoryOpened")
        got = self.ask(trajectories.claim, "my-org", None, "w1", [first])
        self.passes(MINUTE / 2)
        self.ask(trajectories.extend, "my-org", first, got.claim_id)
        self.ask(trajectories.report, "my-org", first, got.claim_id, StepReport(step="ask", outputs={"a": 1}))
        used = TrajectoryUsage(cost_micros=1_200, input_tokens=90)
        self.ask(trajectories.report_usage, "my-org", first, got.claim_id, used)
        self.ask(trajectories.finish, "my-org", first, got.claim_id, FinishRequest())
        self.ask(trajectories.set_statuses, asks, {second: "failed"})
        self.ask(trajectories.label, asks, first, LabelCreate(key="good", value="yes", author="me"))
        self.ask(trajectories.ingest, asks, IngestCreate(output="x", scores={"a": 1}, trajectory_id="t1"))
        by_hand = self.ask(trajectories.run, asks, RunCreate(secret_params={"k": "v"}))
        got = self.ask(trajectories.claim, "my-org", None, "w1", [by_hand])
        self.ask(trajectories.report_usage, "my-org", by_hand, got.claim_id, TrajectoryUsage(cost_micros=30))
        while not self.ask(tasks.delete, old):
            pass
        self.ids |= {"my-org": org, "often": often, "first trajectory": first, "asks": asks}

    def tell_of_deliveries(self):
        """What leaves the system, and what becomes of it."""
        postal = self.company("Postal")
        scout = self.agent(postal, heartbeat_url="https://example.com/beat")
        self.ask(agents.rotate_heartbeat_secret, scout, 60)
        endpoint = self.ask(endpoints.create, postal, EndpointDraft(url="https://example.com/in", events=("issue.*",)))
        gone = self.ask(endpoints.create, postal, EndpointDraft(url="https://example.com/gone", events=("*",)))
        self.ask(endpoints.update, postal, endpoint.endpoint_id, EndpointPatch(ordered=True))
        self.ask(endpoints.rotate, postal, endpoint.endpoint_id, 60)
        self.issue(postal, "Told", assignee_agent_id=scout)
        self.ask(endpoints.test, postal, endpoint.endpoint_id)
        answers = {
            endpoint.endpoint_id: ("https://example.com/in", Answer(status=503)),
            gone.endpoint_id: ("https://example.com/gone", Answer(status=410)),
        }
        settled_count = self.settle_letters(answers)
        self.ask(endpoints.redeliver, postal, next(pending for pending in settled_count if pending.target_id == scout))
        self.settle_letters({scout: ("https://example.com/beat", Answer(status=410))})
        self.issue(postal, "More")
        self.lease(postal, scout)
        self.ask(endpoints.delete, postal, gone.endpoint_id)
        self.ids |= {"postal": postal, "endpoint": endpoint.endpoint_id}

    def lease(self, company, agent):
        """Two checkouts with a lease: one runs out, the other is renewed, and taken away by force."""
        take = Checkout(agent_id=agent, expected_statuses=("todo",), lease_seconds=60)
        silent, taken = (self.issue(company, title, assignee_agent_id=agent) for title in ("Silent", "Taken"))
        for id_ in (silent, taken):
            self.ask(issues.check_out, id_, take, SESSION)
        self.passes(timedelta(seconds=30))
        self.ask(issues.check_out, taken, take, SESSION)
        self.passes(timedelta(seconds=30))
        over = [Overdue(id=silent, company_id=company, kind="lease", ends_at=self.now)]
        self.executor.attempt(lambda work: deadlines.settle(work, over), actor="scheduler")
        self.ask(issues.force_release, taken)
        last = self.issue(company, "Held", assignee_agent_id=agent)
        self.ask(issues.check_out, last, take, SESSION)

    def pending_deliveries(self):
        """What waits to be sent."""
        while positions.advance(self.conn, [deliveries], self.store.after):
            pass
        return pending_deliveries.due(self.conn, self.now, of_lane=100, limit=100)

    def settle_letters(self, answers):
        """Every letter that waits is answered as its target answers at its URL, well unless told otherwise; gives the letters."""
        waiting = self.pending_deliveries()
        for pending in waiting:
            url, answer = answers.get(pending.target_id, ("", Answer(status=200)))
            self.executor.attempt(
                lambda work, pending=pending, url=url, answer=answer: post.record(work, pending, url, answer)
            )
        return waiting

    def opened(self):
        """The openings of issues, in order."""
        return [one for one in self.store.history() if type(one.event).__name__ == "IssueOpened"]


def rows(conn, model, schema="read_models"):
    """All rows of a read model, table by table, in order."""
    return {
        table.name: [
            row for (row,) in conn.execute(f'SELECT row_to_json(t)::text FROM {schema}."{table.name}" t ORDER BY id')
        ]
        for table in model.tables
    }


def folded(conn, model, log, batch):
    """The rows that a read model has when the log comes in batches of this size, in tables of their own."""
    return all_folded(conn, [model], log, batch)[model.name]


def all_folded(conn, models, log, batch):
    """The same of several read models, by their names."""
    with conn.transaction(force_rollback=True):
        conn.execute("CREATE SCHEMA apart")
        conn.execute("SET LOCAL search_path TO apart")
        for model in models:
            conn.execute(model.schema)
        for part in [log[start : start + batch] for start in range(0, len(log), batch)]:
            fold_batch(conn, models, part)
        return {model.name: rows(conn, model, "apart") for model in models}
