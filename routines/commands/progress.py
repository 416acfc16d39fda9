"""The progress bar of a command that goes through the log, or through rows: position, rate, time left."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text


class RateColumn(ProgressColumn):
    """How many events, or rows, are dealt with in a second."""

    def render(self, task: Task) -> Text:
        """Return the rate; nothing until it is known."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


class PositionBar:
    """A bar on standard error from the first position that it is told to the last one: the head of the log, or the last row."""

    def __init__(self, name: str, *, quiet: bool = False) -> None:
        columns = (
            TextColumn("{task.description:>14}"),
            BarColumn(),
            MofNCompleteColumn(),
            RateColumn(),
            TimeRemainingColumn(),
        )
        self._bars = Progress(*columns, console=Console(file=sys.stderr), disable=quiet)
        self.name = name
        self._bar = self._bars.add_task(name, total=None)
        self.position = 0

    def update(self, position: int, head: int) -> None:
        """Show the position that is reached, and the last one, which is to be reached; the bar appears with the first."""
        self._bars.start()
        self.position = position
        self._bars.update(self._bar, completed=position, total=head)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bars.live.is_started:
            self._bars.stop()
