"""Reading the log for several followers: the last batch is read once, and the next one while that is folded."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from domain.recorded import Recorded
from projections.engine.positions import Read

Place = tuple[int, int]  # a position of the log, and how many events after it are wanted


class LastBatch:
    """
    Reads the log and keeps the last batch, so that followers which want the same one do not read it again.

    After a full batch another follows: it is read in a thread while the followers fold, and mostly wait for Postgres. Of
    several followers that are at different places, one has its next batch read so; what is read is there for one step.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._place: Place | None = None
        self._batch: Sequence[Recorded] = ()
        self._ends = set[Place]()  # where the log had ended; such a place leaves the last batch where it is
        self._reader = ThreadPoolExecutor(1, "read-ahead")
        self._ahead: tuple[Place, Future[Sequence[Recorded]]] | None = None
        self._is_awaited = False  # whether what is read ahead is that of the step before

    def __call__(self, position: int, limit: int) -> Sequence[Recorded]:
        """Return at most `limit` events after the position."""
        place = position, limit
        if place in self._ends:
            return ()
        if place != self._place:
            batch = self._take_ahead(place) or self._read(position, limit)
            if not batch:
                self._ends.add(place)
                return ()
            self._place, self._batch = place, batch
            if self._ahead is None and len(batch) == limit > 1:
                following = batch[-1].position, limit
                self._ahead, self._is_awaited = (following, self._reader.submit(self._read, *following)), False
        return self._batch

    def forget(self) -> None:
        """Begin a step: read the log the next time in any case, since it may have grown, unless this was read ahead."""
        self._place = None
        self._ends.clear()
        if self._is_awaited:
            self._ahead = None  # nobody has wanted it for a whole step
        self._is_awaited = self._ahead is not None

    def forget_all(self) -> None:
        """Forget also what was read ahead: the log may be another one, since its database was away."""
        self._ahead = None
        self.forget()

    def close(self) -> None:
        """End the thread that reads ahead; nothing is read after that."""
        self._reader.shutdown(cancel_futures=True)

    def _take_ahead(self, place: Place) -> Sequence[Recorded]:
        """Return what was read ahead, if it is what is wanted now; nothing if that failed, since it may succeed by now."""
        if self._ahead is None or self._ahead[0] != place:
            return ()
        (_, reading), self._ahead = self._ahead, None
        return () if reading.exception() else reading.result()
