"""
One seed, one world: some schedulers, people, a log in memory, and a clock that only we move.

The scheduler is the one of the service (processes/scheduler/scheduler.py), with its read models in memory. Time goes from one
thing that happens to the next. All that is random follows from the seed, so a seed is a story that can be told again.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from random import Random
from typing import Any
from uuid import UUID

from eventsourcing.persistence import PersistenceError
from msgspec.structs import replace

from application.access import BoardUser
from application.event_store.stream_cache import StreamCache
from application.execute import Executor
from application.use_cases import probes
from domain.errors import DomainError, ImpossibleHistory
from domain.events import ProbeAnswered, ProbeRequested
from domain.recorded import Recorded
from domain.routines import probe
from domain.routines.probe import PendingProbe
from domain.values import ProbeFinding
from processes.scheduler.scheduler import TROUBLE_S, Scheduler
from verification.simulation.faults import Faults, Kind, Log, LogConnection, ProcessDied, apply_mutation
from verification.simulation.in_memory_read_models import (
    InMemoryReadModels,
)
from verification.simulation.laws.state import Violation
from verification.simulation.oracle import Oracle
from verification.simulation.people import People
from verification.simulation.shape import DAY, YEAR, Shape, StoryLine, WorldResult, abbreviate
from verification.simulation.stubs import stub_scheduler

BEGIN = datetime(2026, 1, 10, tzinfo=UTC)
SECOND = timedelta(seconds=1)
CHANGES_A_YEAR = 12  # how often people change each routine
ENOUGH = 50  # violations
ANSWERED = 60 * SECOND  # every probe is answered, or given up, within this time
STUCK = 50  # ticks, one after the other, that leave something that is due


class Process:
    """A scheduler, as long as it lives."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.is_busy = False


class World:
    def __init__(self, shape: Shape, *, keeps_story: bool = False) -> None:
        self.shape = shape
        self.elapsed = timedelta()  # true time
        self.shift = timedelta()  # how far the clock is ahead of true time
        self.story: list[StoryLine] = []
        self._keeps_story = keeps_story
        self._random = Random(f"{shape.seed}/world")
        self._ids = Random(f"{shape.seed}/ids")
        self._log = Log(shape.mutation)
        self._faults = Faults(f"{shape.seed}/faults", shape.kinds)
        self._oracle = Oracle()
        self._read = 0
        self._read_models = InMemoryReadModels()
        self._next: list[tuple[timedelta, int, Callable[[], None]]] = []
        self._scheduled_count = 0
        self._is_nested = False
        self._idle_ticks = 0
        self._turn = 0  # the number of the newest alarm; earlier ones are ignored
        self._is_up = True
        self._caller = BoardUser(user_id=self._new_id(), key_id=self._new_id(), instance_admin=True)
        self._processes: list[Process | None] = []
        self._web = self._new_executor(1)
        self._closed_issues: list[UUID] = []
        self._probing = Random(f"{shape.seed}/probes")
        self._pending_probes: set[UUID] = set()  # probes that wait for an answer, which somebody gives or not
        self._newest = BEGIN  # the latest moment of what is recorded

    def run(self) -> WorldResult:
        with stub_scheduler(self._new_id, self._trouble), apply_mutation(self.shape.mutation):
            self._faults.off = True
            self._people = People(
                f"{self.shape.seed}/people", self._ask_as_person, self.clock, dense=self.shape.is_stormy
            )
            for index in range(self.shape.routines):
                self._plan_changes(index, self._people.open_routine())
            self._faults.off = False
            self._processes = [self._new_scheduler() for _ in range(self._random.choice([1, 2, 3]))]
            self._read_models.call_after_reading_due(lambda: self._perhaps_overtake("stale"))
            self._set_alarm()
            self._plan_events()
            self._run_to_end()
            self._come_to_rest()
        return WorldResult(
            self.shape,
            self._oracle.violations,
            self._oracle.occurrences,
            self._faults.counts,
            self._read,
            self.story,
        )

    def clock(self) -> datetime:
        return BEGIN + self.elapsed + self.shift

    # What happens when

    def _plan_events(self) -> None:
        """Plan what happens to the whole world."""
        self._repeat(lambda: self._random.uniform(2, 12) * DAY, self._do_work)
        if self.shape.people:
            self._repeat(
                lambda: self._random.expovariate(1 / 20) * DAY, lambda: self._add_to_story(self._people.rearrange())
            )
        if self.shape.clock_steps:
            self._repeat(lambda: self._random.expovariate(1 / 50) * DAY, self._step_clock)
        if self.shape.outages:
            self._schedule_after(self._draw_uptime(), self._go_down)

    def _repeat(self, pause: Callable[[], timedelta], action: Callable[[], None]) -> None:
        def act_and_repeat() -> None:
            action()
            self._schedule_after(pause(), act_and_repeat)

        self._schedule_after(pause(), act_and_repeat)

    def _plan_changes(self, index: int, random: Random) -> None:
        """Plan that people change a routine now and then."""
        if not self.shape.people:
            return

        def change() -> None:
            self._change_routine(index, random)
            self._schedule_after(random.expovariate(CHANGES_A_YEAR) * YEAR, change)

        self._schedule_after(random.expovariate(CHANGES_A_YEAR) * YEAR, change)

    def _schedule_after(self, pause: timedelta, action: Callable[[], None]) -> None:
        self._scheduled_count += 1
        heappush(self._next, (self.elapsed + pause, self._scheduled_count, action))

    def _run_to_end(self) -> None:
        end = self.shape.days * DAY
        while self._next and self._next[0][0] <= end and not self._is_over():
            self.elapsed, _, action = heappop(self._next)
            action()
            self._catch_up()
        self.elapsed = end

    def _is_over(self) -> bool:
        return len(self._oracle.violations) >= ENOUGH or self._idle_ticks >= STUCK

    def _come_to_rest(self) -> None:
        """End all faults: one scheduler settles all that is left, and the books are closed."""
        self._faults.off = True
        last_scheduler, rest_begin = self._new_scheduler().scheduler, self.elapsed
        for _ in range(STUCK):
            settled_count = last_scheduler.tick(self._read_models)  # type: ignore[arg-type]
            self._catch_up()
            self.elapsed += timedelta(seconds=6)
            is_answered = not self._pending_probes or self.elapsed - rest_begin > ANSWERED
            if not settled_count and is_answered and not self._read_models.has_due_work(self.clock()):
                break
        else:
            self._trouble("what is due stays due")
        self._oracle.judge_end(self.clock() - timedelta(seconds=6))

    # Schedulers

    def _new_scheduler(self) -> Process:
        executor = self._new_executor(int(self._random.random() < 0.9))
        batch = self._random.choice([1, 20, 50, 200, 200, 200])
        return Process(Scheduler(executor, executor.store.after, batch))

    def _new_executor(self, has_cache: int) -> Executor:
        connection = LogConnection(self._log, self._faults, self._let_another_overtake, self.shape.mutation)
        return Executor(connection, self.clock, cache=StreamCache() if has_cache else None)

    def _set_alarm(self, pause: timedelta = timedelta()) -> None:
        """Set one alarm for all: whoever comes second finds nothing to do, unless the first one failed."""
        self._turn += 1
        turn = self._turn
        self._schedule_after(pause, lambda: self._ring_alarm() if turn == self._turn else None)

    def _ring_alarm(self) -> None:
        running_indexes = [index for index, process in enumerate(self._processes) if process is not None]
        if self._random.random() < 0.1:  # usually the same scheduler is first, with a warm cache
            self._random.shuffle(running_indexes)
        pauses = [self._tick_process(index) for index in running_indexes if self._is_work_waiting()]
        if running_indexes:
            self._set_alarm(min(pauses) if pauses and self._is_work_waiting() else self._until_next())

    def _is_work_waiting(self) -> bool:
        self._read_models.follow(self._web.store.after)
        return self._read_models.has_due_work(self.clock())

    def _tick_process(self, index: int) -> timedelta:
        """Let the process tick; return how long it sleeps afterwards."""
        process = self._processes[index]
        if process is None:
            return 300 * SECOND
        process.is_busy, last_position = True, self._read_models.position
        try:
            process.scheduler.tick(self._read_models)  # type: ignore[arg-type]
        except ProcessDied:
            self._add_to_story(f"scheduler {index} dies")
            self._processes[index] = None
            self._schedule_after(self._random.uniform(0, 300) * SECOND, lambda: self._start(index))
            return 300 * SECOND
        except PersistenceError as error:
            self._add_to_story(f"scheduler {index}: {type(error).__name__}")
            return TROUBLE_S * SECOND
        finally:
            process.is_busy = False
        is_idle = self._is_work_waiting() and self._read_models.position == last_position
        self._idle_ticks = self._idle_ticks + 1 if is_idle else 0
        return process.scheduler.pause_s(self._read_models) * SECOND  # type: ignore[arg-type]

    def _until_next(self) -> timedelta:
        """Return how long it is until something comes due; a sleep that would end before that goes on."""
        moment = self._read_models.next_moment()
        return 1_000 * DAY if moment is None else max(moment - self.clock(), timedelta())

    def _start(self, index: int) -> None:
        if self._is_up and self._processes[index] is None:
            self._processes[index] = self._new_scheduler()
            self._set_alarm()

    # What goes wrong

    def _perhaps_overtake(self, kind: Kind) -> None:
        if not self._is_nested and self._faults.draw((kind,)):
            self._faults.counts[kind] += 1
            self._let_another_overtake()

    def _let_another_overtake(self) -> None:
        """Let another process do what it does, in the middle of what this one does."""
        if self._is_nested:
            return
        self._is_nested, self._faults.off = True, True
        # Acts as another process would, since this one may hold the turn of the stream.
        web, self._web = self._web, self._new_executor(1)
        try:
            idle_processes = [process for process in self._processes if process is not None and not process.is_busy]
            if idle_processes and (self._random.random() < 0.5 or not self.shape.people):
                self._add_to_story("another scheduler ticks in between")
                self._random.choice(idle_processes).scheduler.tick(self._read_models)  # type: ignore[arg-type]
            elif self.shape.people:
                self._change_routine(self._random.randrange(len(self._people.routines)), self._random)
        finally:
            self._is_nested, self._faults.off, self._web = False, False, web

    def _step_clock(self) -> None:
        step = (
            self._random.choice([-2 * DAY, -3 * SECOND * 3_600, -61 * SECOND, 61 * SECOND, 3 * DAY])
            * self._random.random()
        )
        self.shift += step
        self._faults.counts["clock back" if step < timedelta() else "clock forward"] += 1
        self._add_to_story(f"the clock steps by {step}")
        self._set_alarm()

    def _draw_uptime(self) -> timedelta:
        """Draw how long the schedulers are there, until they are all gone."""
        return self._random.uniform(0.01, 0.3) * DAY if self.shape.is_stormy else self._random.expovariate(1 / 40) * DAY

    def _go_down(self) -> None:
        self._is_up = False
        self._faults.counts["outage"] += 1
        days = self._random.uniform(0, 40) if self.shape.is_stormy else 10 ** self._random.uniform(-3, 1.3)
        outage = days * DAY
        self._add_to_story(f"all schedulers are down for {outage}")
        self._processes = [None for _ in self._processes]
        self._schedule_after(outage, self._come_up)

    def _come_up(self) -> None:
        self._is_up = True
        self._processes = [self._new_scheduler() for _ in self._processes]
        self._set_alarm()
        self._schedule_after(self._draw_uptime(), self._go_down)

    # People

    def _change_routine(self, index: int, random: Random) -> None:
        if self.shape.past or self.clock() >= self._newest:
            self._add_to_story(self._people.change(index, random), self._people.routines[index].id)

    def _do_work(self) -> None:
        live = [id_ for issues in self._oracle.open.values() for id_ in issues]
        self._people.work_on(live, self._closed_issues[-20:])
        self._closed_issues = [*self._closed_issues[-20:], *live]

    def _ask_as_person(self, use_case: Callable[..., Any], *args: object) -> Any:
        """Return what a person asks for; None when the answer is no, or does not come."""
        try:
            actor = f"user:{self._caller.user_id}"
            attempt = self._web.attempt(lambda work: use_case(work, self._caller, *args), actor=actor)
        except (DomainError, PersistenceError):
            return None
        except ProcessDied:
            self._web = self._new_executor(1)
            return None
        except ImpossibleHistory as error:
            self._trouble(repr(error))
            return None
        self._set_alarm()  # the log announces what people do; what schedulers do, they find for themselves
        return attempt.result

    # The log

    def _catch_up(self) -> None:
        """Let the oracle read what is new."""
        store = self._web.store
        while batch := store.after(self._read, 10_000):
            for recorded in batch:
                self._oracle.read(recorded)
                self._newest = max(self._newest, recorded.at)
                self._follow_probe(recorded)
                if self._keeps_story:
                    text = f"{recorded.at:%m-%d %H:%M:%S} {recorded.actor[:9]:9} {abbreviate(recorded.event)}"
                    self.story.append(StoryLine(recorded.position, text, self._oracle.routine_of(recorded)))
            self._read = batch[-1].position
        self._oracle.judge_commit()

    # Probes

    def _follow_probe(self, recorded: Recorded) -> None:
        """Plan that somebody is asked and answers in time, too late, or never; a delivery process records that."""
        if isinstance(recorded.event, ProbeAnswered):
            self._pending_probes.discard(recorded.stream_id)
        if isinstance(recorded.event, ProbeRequested):
            self._pending_probes.add(recorded.stream_id)
            pending = PendingProbe(
                id=recorded.stream_id,
                version=recorded.version,
                routine_id=recorded.event.routine_id,
                company_id=recorded.known_company_id,
            )
            if self._probing.random() < 0.9:
                self._schedule_after(self._probing.random() ** 3 * 40 * SECOND, lambda: self._answer_probe(pending))

    def _answer_probe(self, pending: PendingProbe) -> None:
        number = self._probing.random()
        passed_finding = ProbeFinding(verdict="passed", status=200, took_ms=1)
        finding = (
            passed_finding
            if number < 0.6
            else probe.unanswered_finding("x", 1)
            if number < 0.7
            else replace(passed_finding, verdict="failed")
        )
        executor = self._new_executor(0)
        try:
            query_result = executor.query(
                lambda work: probes.probe_to_ask(work, pending) if probes.is_due(work, pending) else None
            )
            if query_result is not None:
                finding = query_result if isinstance(query_result, ProbeFinding) else finding
                executor.attempt(lambda work: probes.record(work, pending, finding), actor="delivery")
        except (PersistenceError, ProcessDied):
            self._schedule_after(SECOND, lambda: self._answer_probe(pending))
        self._set_alarm()

    def _add_to_story(self, text: str, routine_id: UUID | None = None) -> None:
        if self._keeps_story:
            self.story.append(StoryLine(None, f"{self.clock():%m-%d %H:%M:%S} * {text}", routine_id))

    def _trouble(self, text: str) -> None:
        self._oracle.violations.append(Violation("against rule", text, None, self._read))

    def _new_id(self) -> UUID:
        return UUID(int=self._ids.getrandbits(128), version=4)
