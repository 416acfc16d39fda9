"""How often a sender may call webhooks, and what counts against it."""

from uuid import uuid4

import pytest

from application.use_cases import references
from domain.errors import NotFound
from tests.api import Api
from tests.web.hooks import FORWARDED, hook, refusal_of, runs_of, sending_from
from tests.web.served import serve_further
from web.http.rate_limit import TooManyCalls, WebhookRateLimiter


def test_a_sender_calls_a_webhook_so_often_a_minute_and_is_told_when_to_come_back(api: Api, routine: str):
    one, other = hook(api, routine, "none"), hook(api, routine, "none")

    with serve_further(api, webhook_rate=3) as here, sending_from("127.0.0.2") as another_sender:
        allowed = [one.at(here.url).send().status_code for _ in range(3)]
        refusal = one.at(here.url).send()
        forged = [one.at(here.url).send(b"", {name: "203.0.113.7"}) for name in FORWARDED]
        others = [other.at(here.url).send(), one.at(here.url).send(client=another_sender)]
        unlimited = here.request("GET", "/companies")

    assert [202] * 3 == allowed
    assert (429, "Too many requests: try again later") == refusal_of(refusal)
    assert 0 < int(refusal.headers["Retry-After"]) <= 60
    assert {429} == {answer.status_code for answer in forged}
    assert [202, 202] == [answer.status_code for answer in others]
    assert 200 == unlimited.status_code
    assert 5 == len(runs_of(api, routine))


def test_a_sender_that_may_call_is_not_counted_as_refused_for_what_is_gone(
    api: Api, routine: str, monkeypatch: pytest.MonkeyPatch
):
    def check_gone(*_: object) -> None:
        raise NotFound("Agent not found")

    refused: list[str] = []
    monkeypatch.setattr(WebhookRateLimiter, "count_refusal", lambda _, sender: refused.append(sender))
    monkeypatch.setattr(references, "check_assignee", check_gone)
    sender = hook(api, routine, "bearer")
    answers = [sender.send(headers={"Authorization": f"Bearer {secret}"}) for secret in (sender.secret, "no")]

    assert [404, 401] == [answer.status_code for answer in answers]
    assert 1 == len(refused)


def test_a_sender_may_not_try_one_address_after_the_other(api: Api):
    """Ten webhooks' worth of calls, known addresses or not."""
    with serve_further(api, webhook_rate=3) as here, sending_from("127.0.0.3") as client:
        path = f"{here.url}/api/routine-triggers/public"
        answers = [client.post(f"{path}/{number:024x}/fire").status_code for number in range(32)]

    assert [404] * 30 + [429] * 2 == answers


def test_of_more_senders_than_are_counted_the_one_that_called_longest_ago_is_forgotten():
    limiter, webhook = WebhookRateLimiter(per_minute=1, most_counters=2), uuid4()
    limiter.count_call(webhook, "192.0.2.1")
    limiter.count_call(webhook, "192.0.2.2")
    with pytest.raises(TooManyCalls):
        limiter.count_call(webhook, "192.0.2.1")

    limiter.count_call(webhook, "192.0.2.3")

    with pytest.raises(TooManyCalls):
        limiter.count_call(webhook, "192.0.2.1")
    limiter.count_call(webhook, "192.0.2.2")
