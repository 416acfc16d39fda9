"""The same idempotency key gives the same run, also when many calls come at once (contract 5.1)."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api import Api
from tests.web.paperclip.runs.manual_runs import fire, history, move


def test_the_same_key_gives_the_same_run_as_it_is_now(api: Api, routine: str):
    """Contract 5.1: no expiry, differences in the body are ignored."""
    first = fire(api, routine, idempotencyKey=" k ", payload={"a": 1})
    move(api, first, "done")

    again = api.request("POST", f"/routines/{routine}/run", {"idempotencyKey": "k", "payload": {"b": 2}})

    assert (202, first["id"], "completed", "k", {"a": 1}) == (
        again.status_code,
        *(again.json()[name] for name in ("id", "status", "idempotencyKey", "triggerPayload")),
    )
    assert 1 == len(history(api, routine))


def test_a_key_counts_per_routine_source_and_trigger(api: Api, company: str, agent: tuple[str, str]):
    routine, other = api.routine(company, agent[0]), api.routine(company, agent[0])
    trigger = api.post(f"/routines/{routine}/triggers", {"kind": "api"})["trigger"]["id"]
    bodies = [{}, {"source": "api"}, {"triggerId": trigger}, {"source": "api", "triggerId": trigger}]

    runs = [fire(api, routine, idempotencyKey="k", **body)["id"] for body in bodies]
    runs.append(fire(api, other, idempotencyKey="k")["id"])

    assert 5 == len(set(runs))


@pytest.mark.parametrize("key", ["", "   ", None])
def test_an_empty_key_is_none(api: Api, routine: str, key: str | None):
    runs = [fire(api, routine, idempotencyKey=key) for _ in range(2)]

    assert [None, None] == [run["idempotencyKey"] for run in runs]
    assert 2 == len({run["id"] for run in runs})


def test_twenty_calls_at_once_with_one_key_are_one_run(api: Api, routine: str):
    with ThreadPoolExecutor(20) as threads:
        answers = list(
            threads.map(
                lambda _: api.request("POST", f"/routines/{routine}/run", {"idempotencyKey": "once"}), range(20)
            )
        )

    assert [202] * 20 == [answer.status_code for answer in answers]
    assert 1 == len({answer.json()["id"] for answer in answers})
    assert 1 == len(history(api, routine))
