"""How long the ways through the code are: the calls of our functions on a webhook's way, and on that of a due schedule."""

import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import httpx
from ledger import NOON, arm_one, fresh_system
from litestar.concurrency import set_asyncio_executor
from table import title

from application.event_store.stream_cache import StreamCache
from application.execute import Executor
from processes import projector as projectors
from processes.projector import Projector
from processes.scheduler.batches import Batches
from processes.scheduler.prefetch import PREFETCH_WINDOW
from processes.scheduler.scheduler import Scheduler
from projections import catalogue
from routines import bootstrap
from routines.bootstrap import System
from routines.postgres.cluster import LocalPostgres
from routines.web_server import request_threads, server
from web.app import create_app
from web.http.backend import Backend
from web.paperclip.webhooks import Webhooks

ROOT = Path(__file__).parent.parent
OURS = tuple(
    f"{ROOT}/{package}/" for package in ("application", "domain", "processes", "projections", "routines", "web")
)
MINUTE = timedelta(minutes=1)


class Recording:
    """
    The calls of our functions, in all threads, while it is on.

    A coroutine or a generator counts once, however often it goes on; a comprehension is part of its function.
    """

    def __init__(self) -> None:
        self.is_on = False
        self.frames: list[FrameType] = []  # of the calls, in their order; kept, so that none gets another's identity
        self._spans: dict[
            CodeType, tuple[int, int]
        ] = {}  # by function: the numbers of calls before and after its last one
        self._known: set[int] = set()
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def _note(self, frame: FrameType, kind: str, _argument: Any) -> None:
        code = frame.f_code
        if not self.is_on or not code.co_filename.startswith(OURS):
            return
        if kind == "call" and id(frame) not in self._known and not code.co_name.endswith(("comp>", "genexpr>")):
            self._spans[code] = (len(self.frames), len(self.frames))
            self._known.add(id(frame))
            self.frames.append(frame)
        elif kind == "return" and code in self._spans:  # a coroutine returns each time that it waits
            self._spans[code] = (self._spans[code][0], len(self.frames))

    @contextmanager
    def of_one(self) -> Iterator[None]:
        """Record what goes on in the context alone."""
        self.frames, self._spans, self._known, self.is_on = [], {}, set(), True
        try:
            yield
        finally:
            self.is_on = False

    def row(self, root: CodeType | None = None) -> str:
        """Return how many calls there were, within a function if one is given, of how many functions, in how many files."""
        first, end = (0, len(self.frames)) if root is None else self._spans[root]
        codes = [frame.f_code for frame in self.frames[first:end]]
        files = {code.co_filename for code in codes}
        return f"{len(codes):5,} calls of {len(set(codes)):4,} functions in {len(files):3} files"

    def listing(self) -> str:
        """Return the functions by file, with how often each was called, in the order of their first calls."""
        counts: dict[str, dict[str, int]] = {}
        for frame in self.frames:
            functions = counts.setdefault(frame.f_code.co_filename.removeprefix(f"{ROOT}/"), {})
            functions[frame.f_code.co_qualname] = functions.get(frame.f_code.co_qualname, 0) + 1
        return "\n".join(
            f"{file}: " + ", ".join(name if many == 1 else f"{name} x{many}" for name, many in functions.items())
            for file, functions in counts.items()
        )


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    """Count the calls; `quick` changes nothing: each way is gone once, when a process has cached what it caches."""
    del quick
    title("Calls of our functions on the way of one webhook call, and on that of one due schedule")
    recording = Recording()
    try:
        _tick(postgres, recording)
        _call_webhook(postgres, recording)
    finally:
        threading.setprofile(None)
        sys.setprofile(None)


def _tick(postgres: LocalPostgres, recording: Recording) -> None:
    with fresh_system(postgres) as system, bootstrap.connect(system.settings) as conn:
        arm_one(system, NOON, concurrency_policy="always_enqueue")
        executor = Executor(system.store, lambda: NOON, cache=StreamCache(), quotas=system.executor.quotas)
        scheduler = Scheduler(executor, system.store.after, 200)
        assert scheduler.tick(conn) == 1
        executor.clock = lambda: NOON + MINUTE - PREFETCH_WINDOW
        scheduler.tick(conn)
        while scheduler.pause_s(conn) == 0:  # it reads ahead
            scheduler.tick(conn)
        executor.clock = lambda: NOON + MINUTE
        with recording.of_one():
            fired = scheduler.tick(conn)
        assert fired == 1
    _show("one tick, in which one schedule fires", recording.row())
    _show("within it, from the due row to its issue", recording.row(Batches.settle.__code__))
    _write("tick", recording)


def _call_webhook(postgres: LocalPostgres, recording: Recording) -> None:
    with tempfile.TemporaryDirectory() as directory:
        key_file = f"{directory}/secret.keys"
        bootstrap.make_keys(key_file)
        with fresh_system(postgres, key_file) as system, _serve_web(system) as url:
            with _run_projector(system):
                call = _webhook(url, system)
            for _ in range(3):
                call()
            with recording.of_one():
                call()
    _show("one webhook call, from the socket to the answer", recording.row())
    _show("within it, from the handler to the answer", recording.row(Webhooks.fire.fn.__code__))
    _write("webhook", recording)


@contextmanager
def _serve_web(system: System) -> Iterator[str]:
    """Serve the web application in a thread."""
    backend = Backend(system.executor, system.pool, system.settings.patience_s)
    set_asyncio_executor(request_threads(system.settings))  # type: ignore[arg-type]  # Litestar accepts any executor
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        serving = server(create_app(backend, url), system.settings, "127.0.0.1", 0)
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [listener]})
        thread.start()
        while not serving.started:
            time.sleep(0.01)
        yield url
        serving.should_exit = True
        thread.join()


@contextmanager
def _run_projector(system: System) -> Iterator[None]:
    """Run the projector in a thread: what is asked of the API waits for it, but for a call of a webhook."""
    stop = threading.Event()
    arguments = (Projector(catalogue.ALL, system.store.after), lambda: bootstrap.connect(system.settings), stop)
    thread = threading.Thread(target=projectors.run, args=arguments, kwargs={"outage": system.outage})
    thread.start()
    yield
    stop.set()
    thread.join()


def _webhook(url: str, system: System) -> Callable[[], None]:
    """Make a routine with a webhook; return what calls it."""
    token = bootstrap.first_board_token(system.settings)
    client = httpx.Client(base_url=f"{url}/api", headers={"Authorization": f"Bearer {token}"}, timeout=30)

    def post(path: str, body: dict[str, Any]) -> Any:
        return client.post(path, json=body).raise_for_status().json()

    company = post("/companies", {"name": "Acme"})["id"]
    agent = post(f"/companies/{company}/agents", {"name": "Scout"})["id"]
    draft = {"title": "Check the inbox", "assigneeAgentId": agent, "concurrencyPolicy": "always_enqueue"}
    routine = post(f"/companies/{company}/routines", draft)["id"]
    secret = post(f"/routines/{routine}/triggers", {"kind": "webhook"})["secretMaterial"]
    headers = {"Authorization": f"Bearer {secret['webhookSecret']}"}

    def call() -> None:
        client.post(secret["webhookUrl"], json={"what": "mail"}, headers=headers).raise_for_status()

    return call


def _show(name: str, numbers: str) -> None:
    print(f"  {name:48} {numbers}")


def _write(name: str, recording: Recording) -> None:
    path = Path(tempfile.gettempdir()) / f"routines-{name}.calls"
    path.write_text(recording.listing() + "\n")
    print(f"  {'':48} {path} lists them")
