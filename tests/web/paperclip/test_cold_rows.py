"""What is over long since is answered as before when its rows have become cold, and may go on."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from domain.identity import issue_of_run, run_of_occurrence
from projections import catalogue
from projections.engine import cold
from tests.api import Api
from tests.web.past import Past

NOON = datetime(2024, 11, 20, 12, 0, 30, tzinfo=UTC)
ONE, TWO = NOON.replace(hour=13, second=0), NOON.replace(hour=14, second=0)


class OldRows:
    """A routine with two runs, a done issue and a comment, all of whose rows are cold; and the answers of before."""

    def __init__(self, api: Api) -> None:
        self.api, past = api, Past(api, NOON)
        self.company, self.routine = past.company, past.routine(title="Look at the harbour")
        trigger = past.schedule(self.routine, cron_expression="0 * * * *")
        self.run = run_of_occurrence(trigger, ONE)
        self.issue = issue_of_run(self.run)
        for moment in (ONE, TWO):
            past.at(moment.hour, 0, 2)
            past.tick(trigger)
        api.post(f"/issues/{self.issue}/comments", {"body": "All boats are in"})
        past.finish(trigger, ONE)
        self.identifier = api.get(f"/issues/{self.issue}")["identifier"]
        self.before = self.answers()
        self.then = api.system.store.head()
        with api.system.pool.connection() as conn:
            for model in catalogue.ALL:
                while cold.move(conn, model, self.then):
                    pass

    def answers(self) -> dict[str, Any]:
        """What is answered about it, by path."""
        paths = [
            f"/routine-runs/{self.run}",
            f"/routines/{self.routine}",
            f"/routines/{self.routine}/runs",
            f"/routines/{self.routine}/runs?status=completed&source=schedule",
            f"/routines/{self.routine}/explain?at=2024-11-20T13:00:45Z",
            f"/companies/{self.company}/routines",
            f"/companies/{self.company}/runs?status=completed",
            f"/companies/{self.company}/issues?status=done",
            f"/companies/{self.company}/issues?q=harbour",
            f"/issues/{self.issue}",
            f"/issues/{self.identifier}",
            f"/issues/{self.issue}/comments",
        ]
        exported = [f"/companies/{self.company}/exports/{view}" for view in ("runs", "occurrences", "issues")]
        return {path: self.api.get(path) for path in paths} | {
            path: sorted(self.api.request("GET", path).text.splitlines()) for path in exported
        }

    def is_cold(self, table: str, id_: UUID) -> bool:
        with self.api.system.pool.connection() as conn:
            query = f"SELECT tableoid = '{table}_cold'::regclass FROM {table} WHERE id = %s"
            ((is_cold,),) = conn.execute(query, (id_,)).fetchall()
        return is_cold


@pytest.fixture
def old_rows(api: Api) -> OldRows:
    return OldRows(api)


def test_what_is_cold_is_found_by_its_id_in_lists_by_filters_in_explanations_and_exports(api: Api, old_rows: OldRows):
    assert all(
        [
            old_rows.is_cold("run", old_rows.run),
            old_rows.is_cold("occurrence", old_rows.run),
            old_rows.is_cold("issue", old_rows.issue),
        ]
    )

    for path, answer in old_rows.answers().items():
        assert answer == old_rows.before[path], path


def test_what_is_cold_is_found_as_of_a_moment(api: Api, old_rows: OldRows):
    for path in (
        f"/routines/{old_rows.routine}/runs",
        f"/issues/{old_rows.issue}",
        f"/companies/{old_rows.company}/issues",
    ):
        assert api.get(f"{path}?asOf={old_rows.then}") == api.get(path), path


def test_a_comment_on_a_cold_issue_is_shown_at_once_and_so_is_a_change_of_it(api: Api, old_rows: OldRows):
    api.post(f"/issues/{old_rows.issue}/comments", {"body": "One is missing"})

    assert {one["body"] for one in api.get(f"/issues/{old_rows.issue}/comments")} == {
        "All boats are in",
        "One is missing",
    }
    assert old_rows.is_cold("issue", old_rows.issue)

    api.patch(f"/issues/{old_rows.issue}", {"status": "todo"})

    assert api.get(f"/issues/{old_rows.issue}")["status"] == "todo"
    assert [one["id"] for one in api.get(f"/companies/{old_rows.company}/issues?status=todo")] == [str(old_rows.issue)]
    assert not old_rows.is_cold("issue", old_rows.issue)
