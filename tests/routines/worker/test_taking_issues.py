"""Which issues of its inbox a worker takes, in which order, and when it asks again for one that it was refused."""

import time
from threading import Event
from uuid import uuid4

import pytest

from routines.worker import work
from routines.worker.errors import RequestRefused
from routines.worker.guard import clock
from routines.worker.supervision import Lease
from routines.worker.work import Worker


class Server:
    """What a worker asks of a server before it runs a command; `refusals` are by issue."""

    url = "http://server"

    def __init__(self):
        self.inbox, self.refusals, self.asked = [], {}, []

    def list_rows(self, _path):
        return iter(self.inbox)

    def repeat(self, step):
        return step()

    def ask(self, method, path, _body=None, *, session=None):  # noqa: ARG002 as the server has it
        id_ = path.split("/")[3]
        if method == "POST":
            self.asked.append(id_)
            if id_ in self.refusals:
                raise RequestRefused(409, "Issue checkout conflict", self.refusals[id_])
        return next(item for item in self.inbox if item["id"] == id_)

    def open(self, status="todo"):
        issue = {"id": str(uuid4()), "identifier": "ACM-1", "title": "Look", "status": status, "updatedAt": "1"}
        self.inbox.append(issue)
        return issue


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def worker(server, tmp_path):
    return Worker(
        server,
        command=None,
        tokens=None,
        claims=tmp_path,
        lease_s=90,
        stop=Event(),
        say=lambda _text: None,
        show=lambda *_: None,
        guard=None,
    )


def take(worker):
    """The ids of the issues that are taken; the claims on them end, as when a worker dies."""
    jobs = list(worker.take_jobs())
    for job in jobs:
        job.args[1].close()
    return [job.args[0]["id"] for job in jobs]


def test_what_is_to_do_comes_before_what_a_dead_worker_has_left(server, worker):
    left = server.open()
    assert [left["id"]] == take(worker)
    left["status"] = "in_progress"
    new = server.open()

    assert [new["id"], left["id"]] == take(worker)


def test_an_issue_that_somebody_has_is_asked_for_again_once_it_has_changed(server, worker, tmp_path, monkeypatch):
    issue = server.open()
    server.refusals[issue["id"]] = {"checkoutRunId": str(uuid4())}
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    take(worker)
    monkeypatch.setattr(time, "monotonic", lambda: 1_000_000.0)
    take(worker)
    assert 1 == len(server.asked)

    issue["updatedAt"] = "2"
    take(worker)

    assert 2 == len(server.asked)
    assert [] == list(tmp_path.iterdir())


def test_an_issue_that_is_refused_though_nobody_has_it_is_asked_for_again_after_a_while(server, worker, monkeypatch):
    now_s = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    issue = server.open()
    server.refusals[issue["id"]] = {}

    take(worker)
    now_s[0] = work.REFUSED_S - 0.1
    take(worker)
    assert 1 == len(server.asked)
    now_s[0] = work.REFUSED_S
    take(worker)

    assert 2 == len(server.asked)


@pytest.mark.parametrize(
    ("status", "refusal", "is_kept"),
    [
        ("todo", {}, False),
        ("todo", {"checkoutRunId": "another"}, False),
        ("in_progress", {"checkoutRunId": "another"}, False),
        ("in_progress", {}, True),  # it may be resumed yet, for instance once its project goes on
    ],
)
def test_a_session_that_cannot_be_resumed_any_more_is_forgotten(worker, tmp_path, status, refusal, is_kept):
    server = worker.server
    issue = server.open(status)
    if status == "in_progress":
        (tmp_path / f"{issue['id']}.{uuid4()}").touch()
    server.refusals[issue["id"]] = refusal

    take(worker)

    assert is_kept == bool(list(tmp_path.iterdir()))


def test_a_worker_that_is_to_stop_takes_nothing_more(server, worker):
    server.open()
    server.open()
    jobs = worker.take_jobs()
    job = next(jobs)
    worker.stop.set()

    assert [] == list(jobs)
    job.args[1].close()


def test_a_command_that_has_moved_its_issue_needs_no_lease_any_more(server, worker):
    issue, session, lease = server.open("in_progress"), uuid4(), Lease(90, clock())
    issue |= {"assigneeAgentId": worker.agent_id, "checkoutRunId": None}
    server.try_once = lambda _method, _path: issue

    assert worker._find_loss(issue, session, lease) is None
    assert lease.is_held
    issue["status"] = "blocked"
    assert worker._find_loss(issue, session, lease) is None
    assert not lease.is_held
