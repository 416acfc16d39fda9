"""Lines of parents: they come to an end, and never back to where they began."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.api import Api

KINDS = {  # the list of a company, the path of one, its field, and what else one needs
    "issues": ("parentId", {"title": "Look"}),
    "goals": ("parentId", {"title": "Grow"}),
    "agents": ("reportsTo", {"name": "Scout"}),
}


class Line:
    """Things of one kind, of which each may lie below another."""

    def __init__(self, api: Api, company: str, kind: str) -> None:
        self.api, self.company, self.kind = api, company, kind
        self.field, self.fields = KINDS[kind]

    def add(self, above: str | None = None):
        return self.api.request("POST", f"/companies/{self.company}/{self.kind}", {**self.fields, self.field: above})

    def new(self, above: str | None = None) -> str:
        answer = self.add(above)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def put(self, one: str, above: str | None):
        return self.api.request("PATCH", f"/{self.kind}/{one}", {self.field: above})


@pytest.fixture(params=KINDS)
def line(request, api: Api) -> Line:
    return Line(api, api.company(), request.param)


def test_a_circle_is_refused_and_names_the_field(line: Line):
    top = line.new()
    middle = line.new(top)
    bottom = line.new(middle)

    refusal = line.put(top, bottom)

    assert refusal.status_code == 422
    assert refusal.json()["details"][0]["path"] == [line.field]
    assert line.put(top, None).status_code == 200
    assert line.put(bottom, top).status_code == 200


def test_nothing_lies_above_itself(line: Line):
    one = line.new()

    assert line.put(one, one).status_code == 422


def test_of_two_that_would_close_a_circle_together_one_is_refused(line: Line):
    for _ in range(5):
        one, other = line.new(), line.new()
        with ThreadPoolExecutor(2) as both:
            answers = list(both.map(lambda pair: partial(line.put, *pair)(), [(one, other), (other, one)]))

        assert sorted(answer.status_code for answer in answers) == [200, 422]


def test_a_line_is_as_long_as_it_may_be_and_no_longer(line: Line, set_limits: Callable[..., None]):
    set_limits(max_parents=3)
    lowest = None
    for _ in range(4):
        lowest = line.new(lowest)

    refusal = line.add(lowest)

    assert refusal.status_code == 422
    assert refusal.json()["details"][0]["path"] == [line.field]


def test_a_routine_hangs_its_issues_on_no_line_that_is_full(api: Api, set_limits: Callable[..., None]):
    set_limits(max_parents=1)
    line = Line(api, api.company(), "issues")
    below = line.new(line.new())

    refusal = api.request("POST", f"/companies/{line.company}/routines", {"title": "Check", "parentIssueId": below})

    assert refusal.status_code == 422
    assert refusal.json()["details"][0]["path"] == ["parentIssueId"]
