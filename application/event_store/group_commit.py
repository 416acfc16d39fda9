"""
Group commit: what threads submit while a commit is on its way goes together in the next one.

Nobody waits for a timer. A thread that finds no commit on its way commits at once what it has submitted; when it is
done, one of the threads that wait meanwhile commits for all of them.
"""

from collections import deque
from collections.abc import Callable, Sequence
from threading import Event, Lock
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Submission(Generic[T, R]):
    """What one thread has submitted, and what became of it."""

    def __init__(self, item: T, size: int) -> None:
        self.item = item
        self.size = size
        self.outcome: R | None = None
        self.error: BaseException | None = None
        self.is_settled = False
        self.turn = Event()  # set when it is settled, or when its thread is to commit for all that wait


class GroupCommit(Generic[T, R]):
    """
    Commits the submissions of threads in groups, one group at a time.

    `commit` gets the items of a group and returns an outcome for each, in their order; what it raises is raised to all
    of them. A group has at most `most_items` items, and at most `most_size` of the sizes that were submitted, unless it
    is one item alone.
    """

    def __init__(self, commit: Callable[[Sequence[T]], Sequence[R]], most_items: int, most_size: int) -> None:
        self._commit = commit
        self._most_items = most_items
        self._most_size = most_size
        self._waiting: deque[_Submission[T, R]] = deque()
        self._is_committing = False
        self._lock = Lock()

    def submit(self, item: T, size: int) -> R:
        """Return the outcome of the item once its group is committed. Raises what the commit of the group has raised."""
        submission = _Submission[T, R](item, size)
        with self._lock:
            self._waiting.append(submission)
            leads = not self._is_committing
            self._is_committing = True
        if not leads:
            submission.turn.wait()
        if not submission.is_settled:
            self._commit_group(self._next_group())
        if submission.error is not None:
            raise submission.error
        return submission.outcome  # type: ignore[return-value]  # R may include None

    def _next_group(self) -> list[_Submission[T, R]]:
        """Take those that wait, in their order; the first is the one whose thread leads."""
        with self._lock:
            group = [self._waiting.popleft()]
            size = group[0].size
            while self._waiting and len(group) < self._most_items:
                size += self._waiting[0].size
                if size > self._most_size:
                    break
                group.append(self._waiting.popleft())
            return group

    def _commit_group(self, group: list[_Submission[T, R]]) -> None:
        """Commit the group, hand on the lead, and wake the threads of the group."""
        try:
            for submission, outcome in zip(group, self._commit([one.item for one in group]), strict=True):
                submission.outcome = outcome
        except BaseException as error:  # noqa: BLE001 it is raised in each thread of the group
            for submission in group:
                submission.error = error
        finally:
            with self._lock:
                self._is_committing = bool(self._waiting)
                if self._waiting:
                    self._waiting[0].turn.set()
            for submission in group:
                submission.is_settled = True
                submission.turn.set()
