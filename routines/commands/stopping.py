"""How a long-running command is asked to stop."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event as Stop
from types import FrameType


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Yield a flag that SIGTERM, Ctrl-C or SIGHUP sets; SIGHUP does not where it is ignored, as under nohup."""
    stop = Stop()

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, ask_to_stop) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
