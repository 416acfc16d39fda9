"""What stands for the parts of the scheduler that are random, run in threads or need a database."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch
from uuid import UUID

from application import execute
from verification.simulation.in_memory_read_models import (
    Backfills,
    Chains,
    Deadlines,
    Follower,
    GateWindows,
    TriggersDue,
    Troubles,
)


class SilentLog:
    """Stands for the scheduler's log; what the scheduler could not explain is told."""

    def __init__(self, trouble: Callable[[str], None]) -> None:
        self._trouble = trouble

    def info(self, *_: object, **__: object) -> None: ...

    def exception(self, event: str, **fields: object) -> None:
        self._trouble(f"{event} {fields}: {sys.exc_info()[1]!r}")


class SequentialPool:
    """Stands for the scheduler's threads: one batch after the other, so that a seed tells one story."""

    def __init__(self, *_: object, **__: object) -> None: ...

    map = staticmethod(map)


@contextmanager
def stub_scheduler(new_id: Callable[[], UUID], trouble: Callable[[str], None]) -> Iterator[None]:
    """Let the scheduler work on the read models in memory, without chance; `trouble` is told what it could not explain."""
    with ExitStack() as stack:
        stack.enter_context(patch("application.event_store.unit_of_work.uuid4", new_id))
        stack.enter_context(patch.object(execute, "PAUSE_S", 0.0))
        stack.enter_context(patch("processes.scheduler.prefetch.triggers_due", TriggersDue))
        stack.enter_context(
            patch.multiple(
                "processes.scheduler.scheduler",
                Follower=Follower,
                gate_windows=GateWindows,
                triggers_due=TriggersDue,
                deadlines=Deadlines,
                chains=Chains,
                troubles=Troubles,
                backfills=Backfills,
                _events_behind=lambda _read_models: 0,
            )
        )
        stack.enter_context(
            patch.multiple("processes.scheduler.batches", log=SilentLog(trouble), ThreadPoolExecutor=SequentialPool)
        )
        yield
