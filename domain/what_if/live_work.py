"""The live work of a routine in a replay: what its slot holds, and when each piece of work ends."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from heapq import heappop, heappush
from uuid import UUID

from msgspec import UNSET

from domain.events import RunFired, SlotEvent, SlotFreed, SlotTaken
from domain.recorded import Recorded
from domain.routines import firing
from domain.routines import slot as slots
from domain.schedule.plan import INSTANT
from domain.values import LiveWork, Opened, Outcome, RoutineSettings, Started
from domain.what_if.change import Change
from domain.what_if.ledger import Ledger
from domain.what_if.past import Past, RunDuration


class ReplayedWork:
    """
    The slot of the routine as it really was, and as it is in the replay.

    Work that begins when it really began ends when it really ended. Other work lasts as long as it really did or, where
    that is not known, as long as the routine's work typically does. `settings` are those of the routine with the change.
    """

    def __init__(self, past: Past, change: Change, ledger: Ledger) -> None:
        self._past, self._change, self._ledger = past, change, ledger
        self._has_begun = False
        self._real_slot = self._slot = slots.EMPTY
        # Runs whose work no longer counts as live, because its agent was terminated.
        self._abandoned_runs: set[UUID] = set()
        self._as_it_was: set[UUID] = set()  # issues that end in the replay at the moment at which they really ended
        self._elsewhere: set[UUID] = set()  # issues that end in the replay at another moment than they really did
        self._begun_since: set[UUID] = set()  # runs that were really fired since the beginning of the range
        self._ends: list[tuple[datetime, UUID]] = []  # when each issue of `_elsewhere` ends, as a heap

    @property
    def newest(self) -> LiveWork | None:
        """The live work that a firing meets; None if there is none."""
        return next((live for live in reversed(self._slot.live) if live.run_id not in self._abandoned_runs), None)

    @property
    def next_end(self) -> datetime | None:
        """When the next piece of work ends that does not end when it really did; None if there is none."""
        return self._ends[0][0] if self._ends else None

    def end_next(self) -> None:
        """End the piece of work whose end is `next_end`."""
        _, issue_id = heappop(self._ends)
        self._free(issue_id)

    def begin_replay(self, moment: datetime, settings: RoutineSettings | None) -> None:
        """
        Take the work that is live at the beginning of the range, and decide when it ends under the change.

        `settings` are None if the routine is created only later: then nothing is live.
        """
        self._has_begun = True
        if settings is None:
            return
        self._slot = self._real_slot
        for live in self._slot.live:
            duration = self._past.lasted.get(live.run_id)
            self._decide_end(live, moment if duration is None else duration.begin, moment, settings)

    def note_fired(self, run_id: UUID) -> None:
        """Note that a run was really fired in the range."""
        self._begun_since.add(run_id)

    def note_abandoned(self, recorded: Recorded, real_settings: RoutineSettings | None) -> None:
        """Note the work that a firing should have met under the real policy and did not: nobody works on it any more."""
        policy = None if real_settings is None else real_settings.concurrency_policy
        match recorded.event:
            case RunFired(outcome=Opened()) if policy in ("coalesce_if_active", "skip_if_active"):
                self._abandoned_runs |= {live.run_id for live in self._real_slot.live}

    def follow_slot(self, position: int, event: SlotEvent, settings: RoutineSettings) -> None:
        """Take an event of the real slot: work was opened again, or has ended."""
        self._real_slot = slots.evolve(self._real_slot, event)
        if not self._has_begun:
            return
        match event:
            case SlotTaken(live=live) if not self._is_of_firing(live.run_id, position):  # the issue was opened again
                is_of_before = live.run_id not in self._begun_since and live.issue_id not in self._elsewhere
                if is_of_before or live.issue_id in self._as_it_was:
                    self._as_it_was.add(live.issue_id)
                    self._slot = slots.evolve(self._slot, event)
            case SlotFreed(issue_id=issue_id) if issue_id in self._as_it_was:
                self._end_as_it_did(issue_id, settings)

    def begin_work(self, run_id: UUID, outcome: Outcome, now: datetime, settings: RoutineSettings) -> None:
        """Put the work that a firing opens into the slot; the policy cancel_previous ends what is live."""
        match outcome:
            case Opened(issue_id=issue_id) | Started(trajectory_id=issue_id):
                pass
            case _:
                return
        real = self._past.fired.get(run_id)
        was_begun = real is not None and isinstance(real.outcome, Started)
        if was_begun and isinstance(outcome, Started) and run_id not in self._past.lasted:
            return  # the trajectory could not be begun, and was over at once
        if settings.concurrency_policy == "cancel_previous":
            for live in self._slot.live:
                self._free(live.issue_id)
        live = LiveWork(issue_id=issue_id, run_id=run_id)
        for event in slots.take_slot(self._slot, UUID(int=0), live):
            self._slot = slots.evolve(self._slot, event)
        self._decide_end(live, now, now, settings)

    def _decide_end(self, live: LiveWork, begin: datetime, now: datetime, settings: RoutineSettings) -> None:
        """Decide when this work is over: when it really was, or after the time that it took or is assumed to take."""
        real_duration, real = self._past.lasted.get(live.run_id), self._past.fired.get(live.run_id)
        limit_s = settings.max_run_duration_sec
        limit = None if limit_s is None else timedelta(seconds=limit_s)
        is_limit_kept = (
            self._change.max_run_duration_s is UNSET
            or real is None
            or real.deadline == firing.deadline(settings, begin)
        )
        if real_duration is not None and real_duration.begin == begin and is_limit_kept:
            self._as_it_was.add(live.issue_id)
            return
        is_known = real_duration is not None and (real_duration.end is None or real_duration.duration is not None)
        duration = (
            real_duration.duration if real_duration is not None and is_known else self._assume_duration(real_duration)
        )
        self._end_at(live.issue_id, [begin + length for length in (duration, limit) if length is not None], now)

    def _end_as_it_did(self, issue_id: UUID, settings: RoutineSettings) -> None:
        """End work that really ended now, unless its successor ended it, which the routine's policy would not do now."""
        run_id = next((live.run_id for live in self._slot.live if live.issue_id == issue_id), None)
        duration = None if run_id is None else self._past.lasted.get(run_id)
        is_kept = settings.concurrency_policy != "cancel_previous"
        if duration is not None and duration.is_cut == "superseded" and is_kept:
            end = duration.begin + self._assume_duration(duration)
            self._end_at(issue_id, [end], end)
        else:
            self._free(issue_id)

    def _assume_duration(self, duration: RunDuration | None) -> timedelta:
        """Return how long work is assumed to take of which only the least is known, if anything."""
        self._ledger.assumed_durations += 1
        least = timedelta() if duration is None or duration.end is None else duration.end - duration.begin + INSTANT
        return max(least, self._past.typical)

    def _end_at(self, issue_id: UUID, ends: Sequence[datetime], now: datetime) -> None:
        self._as_it_was.discard(issue_id)
        self._elsewhere.add(issue_id)
        if ends:
            heappush(self._ends, (max(min(ends), now), issue_id))

    def _free(self, issue_id: UUID) -> None:
        for event in slots.free_slot(self._slot, UUID(int=0), issue_id):
            self._slot = slots.evolve(self._slot, event)

    def _is_of_firing(self, run_id: UUID, position: int) -> bool:
        return run_id in self._past.fired and self._past.taken_at_positions.get(run_id) == position
