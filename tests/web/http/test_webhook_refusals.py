"""Which refused calls of webhooks are kept, for those who look at the trigger."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from web.http.webhook_refusals import LONGEST_REASON, QUIET_S, WebhookRefusals

TRIGGER = UUID(int=1)


class Desk:
    """Refusals of webhooks that exist, with a clock; `kept` has the status and the reason of each that was kept."""

    def __init__(self, monkeypatch):
        self.now_s, self.kept = 0.0, []
        monkeypatch.setattr("web.http.webhook_refusals.time.monotonic", lambda: self.now_s)
        monkeypatch.setattr("web.http.webhook_refusals.webhook_refusals.put", self._put)
        backend: Any = SimpleNamespace(
            executor=SimpleNamespace(query=lambda _read: (TRIGGER, "r" * 2 * LONGEST_REASON)),
            pool=SimpleNamespace(connection=nullcontext),
            limits=SimpleNamespace(max_webhook_counters=2),
        )
        limiter: Any = None
        self.refusals = WebhookRefusals(backend, limiter)

    def _put(self, _conn, _trigger_id, status, reason, _sender):
        self.kept.append((status, reason))

    def keeps(self, address="a", status=401):
        """Whether this refusal is kept."""
        kept_before = len(self.kept)
        self.refusals.keep(address, "192.0.2.1", status, "Unauthorized")
        return len(self.kept) > kept_before


@pytest.fixture
def desk(monkeypatch):
    return Desk(monkeypatch)


def test_one_of_an_address_and_a_status_is_kept_in_five_seconds(desk):
    assert [True, False, True, True] == [desk.keeps(), desk.keeps(), desk.keeps(status=409), desk.keeps("b")]
    desk.now_s += QUIET_S
    assert desk.keeps()


def test_of_more_addresses_than_are_remembered_the_first_is_forgotten(desk):
    assert [True, True, True] == [desk.keeps(address) for address in "abc"]
    assert [False, True] == [desk.keeps(address) for address in "ca"]


def test_a_failure_of_ours_is_no_refusal_and_a_long_reason_is_cut(desk):
    assert not desk.keeps(status=500)
    desk.keeps()
    assert [(401, "r" * LONGEST_REASON)] == desk.kept
