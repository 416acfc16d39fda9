"""Prints the steps of the demo, and a status line while it waits."""

import contextlib
from collections.abc import Iterator
from datetime import datetime

from rich.console import Console
from rich.text import Text

from routines.commands.terminal import cell, make_visible


class DemoConsole:
    """Prints each step as a line; on a terminal, the last line shows what the demo waits for."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self._waiting = self.console.status("")

    def step(self, label: str, text: str) -> None:
        """Print a step: its label, then the text."""
        self.console.print(
            Text.assemble((f"{make_visible(label):>12}", "bold"), "  ", make_visible(text)), soft_wrap=True
        )

    def continue_step(self, text: str) -> None:
        """Print a further line of the last step, without a label."""
        self.console.print(cell(f"{'':14}{text}"), soft_wrap=True)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Show the text of `wait` on a terminal until the end of the `with`; elsewhere nothing is shown."""
        if not self.console.is_terminal:
            yield
            return
        with self._waiting:
            yield

    def wait(self, text: str) -> None:
        """Set the text of the status line."""
        self._waiting.update(cell(text))


def clock(moment: datetime) -> str:
    """Return the time of day with milliseconds."""
    return moment.time().isoformat("milliseconds")


def format_delay(planned_at: datetime, actual_at: datetime) -> str:
    """Return how much later the second moment is, in milliseconds, as a text."""
    return f"{(actual_at - planned_at).total_seconds() * 1000:.0f} ms"
