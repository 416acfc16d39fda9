"""
Ends the commands of a worker that is dead, or that is frozen while its leases run out. It is a process of its own.

On standard input the worker tells it of each command: `group end_at kill_at`, in seconds of `clock`, whenever a lease
is renewed, and `group` alone once the command has ended. At `end_at` the process group gets SIGTERM, at `kill_at` SIGKILL.
When the input ends, the worker is dead, and all its commands end.

The guard is run as a file and imports nothing of ours, so that it starts in no time and takes little memory.
"""

import os
import select
import signal
import sys
import time

LONGEST_SLEEP_S = 1.0  # while a machine sleeps, `clock` goes on and timeouts do not: so no sleep is longer
GRACE_S = 10.0  # between SIGTERM and SIGKILL, when the worker is dead


def clock() -> float:
    """Return the seconds of a clock that all processes of this machine share, and that goes on while it sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Watch:
    """The commands that are to be ended, and when."""

    def __init__(self) -> None:
        self.times: dict[int, tuple[float, float]] = {}  # by process group: when it gets SIGTERM, and SIGKILL

    def read(self, line: bytes) -> None:
        """Take what the worker says of a command."""
        group, *times = line.split()
        self.times.pop(int(group), None)
        if times:
            self.times[int(group)] = (float(times[0]), float(times[1]))

    def end_all(self) -> None:
        """Let every command end now."""
        now = clock()
        self.times = {group: (now, min(kill_at, now + GRACE_S)) for group, (_, kill_at) in self.times.items()}

    def step(self) -> float:
        """Send the signals that are due; return the seconds until the next."""
        now = clock()
        for group, (end_at, kill_at) in list(self.times.items()):
            if now >= kill_at:
                send(group, signal.SIGKILL)
                del self.times[group]
            elif now >= end_at:
                if send(group, signal.SIGTERM):
                    self.times[group] = (kill_at, kill_at)
                else:
                    del self.times[group]
        return max(min((end_at - now for end_at, _ in self.times.values()), default=LONGEST_SLEEP_S), 0.0)


def send(group: int, number: signal.Signals) -> bool:
    """Send the signal to a process group; return False when no process is left in it."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # a process that is left runs as another user
    return True


def main() -> None:
    """Watch until the worker has ended, and all its commands."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the guard ends after the worker
        signal.signal(number, signal.SIG_IGN)
    watch, buffer, source = Watch(), b"", sys.stdin.fileno()
    while True:
        pause_s = min(watch.step(), LONGEST_SLEEP_S)
        if not select.select([source], [], [], pause_s)[0]:
            continue
        if not (data := os.read(source, 1 << 16)):
            break
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            watch.read(line)
    watch.end_all()
    while watch.times:
        time.sleep(min(watch.step(), 0.1))


if __name__ == "__main__":
    main()
