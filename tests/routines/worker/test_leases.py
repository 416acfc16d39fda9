"""Leases run out: until when a command may go on, and that it ends in time when its worker cannot renew or is dead."""

import os
import signal
from threading import Event

import pytest

from routines.worker import guard, supervision
from routines.worker.errors import CannotWork, RequestRefused
from routines.worker.guard import Watch
from routines.worker.supervision import NOT_RENEWED, STOPPED, Guard, Lease, Supervision


@pytest.fixture
def now(monkeypatch):
    """The seconds that the clock shows."""
    shown = [1_000.0]
    monkeypatch.setattr(supervision, "clock", lambda: shown[0])
    monkeypatch.setattr(guard, "clock", lambda: shown[0])
    return shown


# A lease


def test_a_command_has_to_end_before_its_lease_does_and_is_killed_before_that_too():
    lease = Lease(90, 1_000.0)

    assert 1_000 < lease.end_at < lease.kill_at < 1_090


def test_a_lease_is_renewed_several_times_within_its_length(now):
    lease = Lease(80, 1_000.0)

    now[0] = 1_019.0
    assert not lease.is_due
    now[0] = 1_020.0
    assert lease.is_due
    lease.renew(1_020.0)
    assert (False, 1_020 + 80 * 2 / 3) == (lease.is_due, lease.end_at)


def test_a_renewal_that_comes_when_the_command_has_to_end_is_of_no_use(now):
    lease = Lease(90, 1_000.0)
    now[0] = lease.end_at

    lease.renew(now[0])

    assert lease.is_over


def test_a_command_that_has_given_its_work_away_may_take_as_long_as_it_likes(now):
    lease = Lease(90, 1_000.0)

    lease.drop()
    now[0] += 1_000_000

    assert (False, False) == (lease.is_due, lease.is_over)


# The guard, as a process of its own


class Groups:
    """The process groups of a machine, and the signals that they got."""

    def __init__(self, monkeypatch, *there):
        self.there, self.got = {*there}, []
        monkeypatch.setattr(os, "killpg", self.kill)

    def kill(self, group, number):
        if group not in self.there:
            raise ProcessLookupError
        self.got.append((group, number))


def test_a_command_whose_lease_is_not_renewed_is_asked_to_end_and_killed_later(now, monkeypatch):
    groups, watch = Groups(monkeypatch, 7), Watch()
    watch.read(b"7 1010.0 1020.0")

    assert 10 == watch.step()
    now[0] = 1_010.0
    assert 10 == watch.step()
    now[0] = 1_019.0
    watch.step()
    assert [(7, signal.SIGTERM)] == groups.got
    now[0] = 1_020.0
    watch.step()
    assert [(7, signal.SIGTERM), (7, signal.SIGKILL)] == groups.got
    assert {} == watch.times


def test_a_command_that_has_ended_or_is_watched_anew_gets_no_signal(now, monkeypatch):
    groups, watch = Groups(monkeypatch, 7, 8), Watch()
    for line in (b"7 1010.0 1020.0", b"8 1010.0 1020.0", b"9 1010.0 1020.0", b"7", b"8 1030.0 1040.0"):
        watch.read(line)

    now[0] = 1_010.0
    watch.step()

    assert [] == groups.got
    assert [8] == [*watch.times]  # nothing is left of 9, as it turns out


def test_when_the_worker_is_dead_its_commands_end_now_and_are_killed_soon(now, monkeypatch):
    groups, watch = Groups(monkeypatch, 7, 8), Watch()
    watch.read(b"7 inf inf")
    watch.read(b"8 1001.0 1002.0")

    watch.end_all()
    watch.step()
    assert [(7, signal.SIGTERM), (8, signal.SIGTERM)] == groups.got
    now[0] = 1_002.0
    watch.step()
    now[0] = 1_000 + guard.GRACE_S
    watch.step()

    assert [(8, signal.SIGKILL), (7, signal.SIGKILL)] == groups.got[2:]


# What the worker tells it


class GuardProcess:
    """What the worker sees of a guard."""

    def __init__(self):
        self.lines, self.stdin, self.is_dead = [], self, False

    def write(self, text):
        self.lines += text.decode().splitlines()

    def poll(self):
        return 1 if self.is_dead else None


@pytest.fixture
def processes(monkeypatch):
    """The guards that were started."""
    started = []
    monkeypatch.setattr(supervision, "_start", lambda: started.append(GuardProcess()) or started[-1])
    return started


def test_a_guard_that_was_killed_is_followed_by_one_that_knows_all_commands(processes):
    worker_guard = Guard()
    worker_guard.start()
    worker_guard.watch(7, 1.0, 2.0)
    worker_guard.watch(8, 3.0, 4.0)
    worker_guard.watch(9, 3.0, 4.0)
    worker_guard.forget(9)
    processes[0].is_dead = True

    worker_guard.watch(7, 5.0, 6.0)

    first, second = processes
    assert ["7 1.0 2.0", "8 3.0 4.0", "9 3.0 4.0", "9"] == first.lines
    assert ["7 5.0 6.0", "8 3.0 4.0"] == second.lines


def lose(look, lease):
    """The supervision of a command whose work is looked at until it is lost."""
    looked_after = Supervision(look, Event(), lease, Guard())
    looked_after.begin(7)
    with looked_after:
        looked_after._thread.join()
    return looked_after


@pytest.mark.parametrize("error", [RequestRefused(404, "no such issue", {}), CannotWork("the token is not taken")])
def test_work_of_which_the_server_tells_nothing_is_lost(processes, error):
    def look(_lease):
        raise error

    looked_after = lose(look, Lease(0.004, guard.clock() + 60))

    assert looked_after.is_set()
    assert str(error) == looked_after.reason


def test_the_guard_is_told_when_a_lease_was_renewed(processes, now):
    lease, answers = Lease(0.004, now[0]), iter([None, "lost"])

    def look(looked_at):
        if (answer := next(answers)) is None:
            looked_at.renew(now[0] + 1)
        return answer

    lose(look, lease)

    first_end = now[0] + 0.004 * 2 / 3
    assert [first_end, first_end + 1] == pytest.approx([float(line.split()[1]) for line in processes[0].lines])


def test_a_command_is_stopped_for_the_first_reason_that_there_is(processes, now):
    stop, lease = Event(), Lease(90, now[0])
    looked_after = Supervision(lambda _lease: None, stop, lease, Guard())
    assert not looked_after.is_set()

    stop.set()
    assert (True, STOPPED) == (looked_after.is_set(), looked_after.reason)
    now[0] = lease.end_at
    assert (True, NOT_RENEWED) == (looked_after.is_set(), looked_after.reason)
    looked_after.lost = "another has it"
    assert "another has it" == looked_after.reason
