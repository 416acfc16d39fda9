"""Group commit: who waits while a commit is on its way goes with the others, and is told of its own outcome."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from application.event_store.group_commit import GroupCommit
from tests.waiting import wait_for


class Commits:
    """Notes the groups; the first ones wait until they are let go."""

    def __init__(self, most_items=64, most_size=1_000, held=1):
        self.groups = []
        self.held = held
        self.let_go = threading.Event()
        self.group_commit = GroupCommit(self.commit, most_items, most_size)
        self.threads = ThreadPoolExecutor(40)

    def commit(self, items):
        self.groups.append(list(items))
        if len(self.groups) <= self.held:
            assert self.let_go.wait(10)
        if "broken" in items:
            raise ConnectionError(*items)
        return [f"{item} done" for item in items]

    def submit(self, *items, size=1):
        """Submit in this order, each by a thread of its own."""
        futures = []
        for item in items:
            before = len(self.groups) + self.many_waiting
            futures.append(self.threads.submit(self.group_commit.submit, item, size))
            wait_for(lambda before=before: len(self.groups) + self.many_waiting > before, limit_s=10)
        return futures

    @property
    def many_waiting(self):
        return len(self.group_commit._waiting)


@pytest.fixture
def commits():
    fake_commits = Commits()
    yield fake_commits
    fake_commits.let_go.set()
    fake_commits.threads.shutdown()


def test_who_is_alone_is_committed_at_once(commits):
    commits.let_go.set()

    assert "a done" == commits.group_commit.submit("a", 1)
    assert "b done" == commits.group_commit.submit("b", 1)
    assert [["a"], ["b"]] == commits.groups


def test_all_that_wait_go_together_in_their_order_and_each_gets_its_own_outcome(commits):
    futures = commits.submit("a", "b", "c", "d")
    commits.let_go.set()

    assert ["a done", "b done", "c done", "d done"] == [future.result(10) for future in futures]
    assert [["a"], ["b", "c", "d"]] == commits.groups


def test_a_group_has_at_most_so_many(commits):
    commits.group_commit._most_items = 2

    futures = commits.submit("a", "b", "c", "d")
    commits.let_go.set()
    for future in futures:
        future.result(10)

    assert [["a"], ["b", "c"], ["d"]] == commits.groups


def test_a_group_has_at_most_so_much_unless_it_is_one_alone(commits):
    futures = commits.submit("a", "b", size=600) + commits.submit("large", size=2_000) + commits.submit("c", size=1)
    commits.let_go.set()
    for future in futures:
        future.result(10)

    assert [["a"], ["b"], ["large"], ["c"]] == commits.groups


def test_what_a_commit_raises_is_raised_to_its_whole_group_and_to_no_other(commits):
    first, broken, other = commits.submit("a", "broken", "b")
    commits.let_go.set()

    assert "a done" == first.result(10)
    for future in (broken, other):
        with pytest.raises(ConnectionError):
            future.result(10)
    assert "c done" == commits.group_commit.submit("c", 1)


def test_of_a_thousand_submissions_by_many_threads_each_is_committed_once():
    commits = Commits(held=0)

    outcomes = list(commits.threads.map(lambda number: commits.group_commit.submit(number, 1), range(1_000)))

    assert [f"{number} done" for number in range(1_000)] == outcomes
    assert list(range(1_000)) == sorted(item for group in commits.groups for item in group)
    commits.threads.shutdown()
