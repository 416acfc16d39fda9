"""
Runs the whole system, and starts a part again when files change that it works with.

    make dev ARGS="--port 8001 --data-dir DIR"

`routines up` does the work: it starts a part again that has ended. So it is enough to end, with SIGTERM, the parts that a
change concerns; up.json says which processes they are. What `up` itself has loaded, and what it does to the database before
any part runs, takes a new start of everything.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from watchfiles import PythonFilter, watch

PACKAGES = ("domain", "application", "projections", "processes", "web", "routines")
EVERYTHING = ("routines/", "projections/catalogue.py", ".sql")
PARTS = ("web", "scheduler", "projector", "delivery")
WORKS_WITH = {  # a file that is not named is of all parts
    "web/": ("web",),
    "processes/scheduler/": ("scheduler",),
    "processes/projector.py": ("projector",),
    "processes/delivery/": ("delivery",),
    "processes/": ("scheduler", "projector", "delivery"),
}
UP = (sys.executable, "-m", "routines", "up")
LOOK_MS = 500  # for an `up` that has ended by itself


def needs_new_start(paths: Iterable[str]) -> bool:
    """Return whether one of these files, named from the root on, takes a new start of everything."""
    return any(path.startswith(EVERYTHING[:2]) or path.endswith(EVERYTHING[2]) for path in paths)


def parts_of(paths: Iterable[str]) -> list[str]:
    """Return the parts that work with any of these files."""
    return [part for part in PARTS if any(part in _parts_of(path) for path in paths)]


def _parts_of(path: str) -> tuple[str, ...]:
    return next((parts for start, parts in WORKS_WITH.items() if path.startswith(start)), PARTS)


def run(root: Path, data_dir: Path, command: Sequence[str]) -> int:
    """Run the system until Ctrl-C, SIGTERM, or the end of `up`; return its exit status."""
    is_over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: is_over.set())
    system = subprocess.Popen(command)
    changes = watch(
        *(root / package for package in PACKAGES if (root / package).is_dir()),
        watch_filter=PythonFilter(extra_extensions=(".sql", ".yaml", ".html", ".js", ".css")),
        stop_event=is_over,
        rust_timeout=LOOK_MS,
        yield_on_timeout=True,
        raise_interrupt=False,
    )
    outdated = set[str]()
    for changed_files in changes:
        if system.poll() is not None:
            return system.returncode
        paths = sorted(Path(path).relative_to(root).as_posix() for _, path in changed_files)
        if needs_new_start(paths):
            print(f"{', '.join(paths)}: everything starts again", flush=True)
            _end(system)
            system = subprocess.Popen(command)
            outdated.clear()
        elif paths:
            print(f"{', '.join(paths)}: to start again: {', '.join(parts_of(paths))}", flush=True)
            outdated.update(parts_of(paths))
        if outdated and _end_parts(data_dir, outdated):
            outdated.clear()
    return _end(system)


def _end(system: subprocess.Popen[bytes]) -> int:
    """End the system: Ctrl-C in a terminal has reached it, too; a second signal of this kind does no harm."""
    system.terminate()
    return system.wait()


def _end_parts(data_dir: Path, parts: Collection[str]) -> bool:
    """End the parts; return False while the system is not ready: it has no up.json then."""
    try:
        processes = json.loads((data_dir / "up.json").read_text())["processes"]
    except FileNotFoundError:
        return False
    for part in processes.keys() & set(parts):
        with contextlib.suppress(ProcessLookupError):
            os.kill(processes[part], signal.SIGTERM)
    return True


def main() -> int:
    """Take the options. They are those of `routines up`."""
    options = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    options.add_argument("--data-dir", type=Path, default=Path(".routines"))
    return run(Path.cwd(), options.parse_known_args()[0].data_dir, [*UP, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
