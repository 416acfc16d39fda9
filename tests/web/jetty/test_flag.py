"""ENABLE_ROUTINES: without it the addresses of routines do not exist, and all else works (contract 1)."""

import httpx
import pytest

from routines.settings import has_jetty_routines
from tests.running import make_app, serving

ROUTINES = [
    ("POST", "/routines/my-org/ask"),
    ("GET", "/routines/my-org"),
    ("GET", "/routines/my-org/ask"),
    ("GET", "/routines/my-org/ask/daily"),
    ("PATCH", "/routines/my-org/ask/daily"),
    ("DELETE", "/routines/my-org/ask/daily"),
    ("POST", "/routines/my-org/ask/daily/pause"),
    ("POST", "/routines/my-org/ask/daily/resume"),
    ("POST", "/routines/my-org/ask/daily/run-now"),
    ("GET", "/routines/my-org/ask/daily/runs"),
    ("GET", "/tasks/my-org/ask/init-params-schema"),
]


@pytest.mark.parametrize(
    ("value", "is_on"),
    [(None, True), ("true", True), ("TRUE ", True), ("1", True), ("false", False), ("", False), ("yes", False)],
)
def test_it_is_on_unless_it_is_set_to_something_else_than_true(value, is_on):
    assert is_on is has_jetty_routines({} if value is None else {"ENABLE_ROUTINES": value})


@pytest.fixture(scope="module")
def url_without_it(api):
    with serving(api.system, make_app(api.system, jetty_routines=False)) as url:
        yield url


def test_without_it_every_address_of_routines_is_unknown_before_anybody_is_asked_who_they_are(url_without_it):
    answers = [httpx.request(method, f"{url_without_it}/api/v1{path}") for method, path in ROUTINES]

    assert {(404, '{"detail":"Not Found"}')} == {(answer.status_code, answer.text) for answer in answers}


def test_with_it_the_same_addresses_ask_who_is_there(api):
    answers = [httpx.request(method, f"{api.url}/api/v1{path}") for method, path in ROUTINES]

    assert {401} == {answer.status_code for answer in answers}


def test_without_it_the_rest_works(api, url_without_it):
    board = {"Authorization": f"Bearer {api.token}"}

    collection = httpx.post(f"{url_without_it}/api/v1/collections/", json={"name": "my-org"}, headers=board)
    tasks = httpx.get(f"{url_without_it}/api/v1/tasks/my-org", headers=board)

    assert (200, 200) == (collection.status_code, tasks.status_code)
