"""How long the ways through the code are: the calls of our functions on a webhook's way, and on that of a due schedule."""

import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
from ledger import NOON, arm, fresh_system
from litestar.concurrency import set_asyncio_executor
from table import title

from application.event_store.stream_cache import StreamCache
from application.execute import Executor
from processes import projector as projectors
from processes.projector import Projector
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
HANDLER = Webhooks.fire.fn.__code__


class Recording:
    """
    The calls of our functions, in all threads, while it is on.

    A coroutine or a generator counts once, however often it goes on; a comprehension is part of its function.
    """

    def __init__(self) -> None:
        self.is_on = False
        self.frames: dict[int, FrameType] = {}  # kept, so that no other frame gets the same identity
        self.in_handler: list[bool] = []
        self._depth = 0
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def _note(self, frame: FrameType, kind: str, _argument: Any) -> None:
        code = frame.f_code
        if not self.is_on or not code.co_filename.startswith(OURS):
            return
        if code is HANDLER:
            self._depth += {"call": 1, "return": -1}.get(kind, 0)
        if kind == "call" and id(frame) not in self.frames and not code.co_name.endswith(("comp>", "genexpr>")):
            self.frames[id(frame)] = frame
            self.in_handler.append(self._depth > 0)

    @contextmanager
    def of_one(self) -> Iterator[None]:
        """Record what goes on in the context alone."""
        self.frames, self.in_handler, self._depth, self.is_on = {}, [], 0, True
        try:
            yield
        finally:
            self.is_on = False

    def row(self, *, in_handler: bool = False) -> str:
        """Return how many calls there were, of how many functions, in how many files."""
        codes = [
            frame.f_code
            for frame, within in zip(self.frames.values(), self.in_handler, strict=True)
            if within or not in_handler
        ]
        files = {code.co_filename for code in codes}
        return f"{len(codes):5,} calls of {len(set(codes)):4,} functions in {len(files):3} files"

    def listing(self) -> str:
        """Return the functions by file, with how often each was called, in the order of their first calls."""
        counts: dict[str, dict[str, int]] = {}
        for frame in self.frames.values():
            functions = counts.setdefault(frame.f_code.co_filename.removeprefix(f"{ROOT}/"), {})
            functions[frame.f_code.co_qualname] = functions.get(frame.f_code.co_qualname, 0) + 1
        return "\n".join(
            f"{file}: " + ", ".join(name if many == 1 else f"{name} x{many}" for name, many in functions.items())
            for file, functions in counts.items()
        )


def run(postgres: LocalPostgres, *, quick: bool) -> None:
    """`quick` changes nothing: each way is gone once, when a process has cached what it caches."""
    del quick
    title("Calls of our functions on the way of one webhook call, and on that of one due schedule")
    recording = Recording()
    try:
        _tick(postgres, recording)
        _call_webhook(postgres, recording)
    finally:
        threading.setprofile(None)  # type: ignore[arg-type]  # as its documentation says
        sys.setprofile(None)


def _tick(postgres: LocalPostgres, recording: Recording) -> None:
    with fresh_system(postgres) as system, bootstrap.connect(system.settings) as conn:
        arm(system, 1, fired=1)
        executor = Executor(
            system.store, lambda: NOON - PREFETCH_WINDOW, cache=StreamCache(), quotas=system.executor.quotas
        )
        scheduler = Scheduler(executor, system.store.after, 200)
        scheduler.tick(conn)
        while scheduler.pause_s(conn) == 0:  # it reads ahead
            scheduler.tick(conn)
        executor.clock = lambda: NOON
        with recording.of_one():
            fired = scheduler.tick(conn)
        assert fired == 1
    _show("one tick, in which one schedule fires", recording.row())
    _write("tick", recording)


def _call_webhook(postgres: LocalPostgres, recording: Recording) -> None:
    with tempfile.TemporaryDirectory() as directory:
        key_file = f"{directory}/secret.keys"
        bootstrap.make_keys(key_file)
        with fresh_system(postgres, key_file) as system, _serving(system) as url:
            call = _webhook(url, system)
            for _ in range(3):
                call()
            with recording.of_one():
                call()
    _show("one webhook call, from the socket to the answer", recording.row())
    _show("one webhook call, within its handler", recording.row(in_handler=True))
    _write("webhook", recording)


@contextmanager
def _serving(system: System) -> Iterator[str]:
    """The web application in a thread, and the projector."""
    backend = Backend(system.executor, system.pool, system.settings.patience_s)
    set_asyncio_executor(request_threads(system.settings))  # type: ignore[arg-type]  # Litestar accepts any executor
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        serving = server(create_app(backend, url), system.settings, "127.0.0.1", 0)
        stop = threading.Event()
        arguments = (Projector(catalogue.ALL, system.store.after), lambda: bootstrap.connect(system.settings), stop)
        threads = [
            threading.Thread(target=serving.run, kwargs={"sockets": [listener]}),
            threading.Thread(target=projectors.run, args=arguments),
        ]
        for thread in threads:
            thread.start()
        while not serving.started:
            time.sleep(0.01)
        yield url
        serving.should_exit = True
        stop.set()
        for thread in threads:
            thread.join()


def _webhook(url: str, system: System) -> Callable[[], None]:
    """A routine with a webhook; returns what calls it."""
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
