"""How the demo shows itself: lines, times, and a wait that moves."""

import contextlib
from collections.abc import Iterator
from datetime import datetime

from rich.console import Console
from rich.text import Text

from routines.commands.terminal import cell, visible


class DemoConsole:
    """Steps as lines; while we wait, a moving last line where there is a terminal."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self._waiting = self.console.status("")

    def step(self, label: str, text: str) -> None:
        self.console.print(Text.assemble((f"{visible(label):>12}", "bold"), "  ", visible(text)), soft_wrap=True)

    def more(self, text: str) -> None:
        self.console.print(cell(f"{'':14}{text}"), soft_wrap=True)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """A terminal shows what `wait` says until the end of the `with`."""
        if not self.console.is_terminal:
            yield
            return
        with self._waiting:
            yield

    def wait(self, text: str) -> None:
        self._waiting.update(cell(text))


def clock(moment: datetime) -> str:
    """The time of day with milliseconds."""
    return moment.time().isoformat("milliseconds")


def late(planned: datetime, actual: datetime) -> str:
    return f"{(actual - planned).total_seconds() * 1000:.0f} ms"
