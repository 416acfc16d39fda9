"""A routine that is changed again and again, and its revisions."""

from typing import Any
from uuid import UUID

import msgspec
import pytest

from domain.identity import revision_of
from tests.api import Api

HOURLY = {"kind": "schedule", "cronExpression": "0 * * * *"}


class RevisionsFixture(msgspec.Struct):
    """A routine of an agent, and short ways to change it."""

    api: Api
    company: str
    agent: str
    token: str
    routine: str

    def edit(self, **fields: Any) -> Any:
        return self.api.patch(f"/routines/{self.routine}", fields)

    def add_trigger(self, **draft: Any) -> str:
        return str(self.api.post(f"/routines/{self.routine}/triggers", draft)["trigger"]["id"])

    def change_trigger(self, trigger: str, **fields: Any) -> Any:
        return self.api.patch(f"/routine-triggers/{trigger}", fields)

    def delete_trigger(self, trigger: str) -> None:
        assert 204 == self.api.request("DELETE", f"/routine-triggers/{trigger}").status_code

    def rotate_secret(self, trigger: str) -> Any:
        return self.api.post(f"/routine-triggers/{trigger}/rotate-secret")

    def list_revisions(self) -> list[Any]:
        revisions: list[Any] = self.api.get(f"/routines/{self.routine}/revisions")
        return revisions

    def snapshot(self, number: int) -> Any:
        return next(one["snapshot"] for one in self.list_revisions() if one["revisionNumber"] == number)

    def send_restore(self, number: int | str, **kwargs: Any) -> Any:
        """The answer to the restoring of a revision, by number or id."""
        id_ = revision_of(UUID(self.routine), number) if isinstance(number, int) else number
        return self.api.request("POST", f"/routines/{self.routine}/revisions/{id_}/restore", **kwargs)

    def restore(self, number: int) -> Any:
        answer = self.send_restore(number)
        assert 200 == answer.status_code, answer.text
        return answer.json()

    def refusal(self, number: int | str, **kwargs: Any) -> tuple[int, str]:
        answer = self.send_restore(number, **kwargs)
        return answer.status_code, answer.json()["error"]

    def read_routine(self) -> Any:
        return self.api.get(f"/routines/{self.routine}")


@pytest.fixture
def revisions_fixture(api: Api) -> RevisionsFixture:
    company = api.company()
    agent, token = api.agent(company)
    return RevisionsFixture(api, company, agent, token, api.routine(company, agent))


def without_addresses(snapshot: Any) -> Any:
    return snapshot | {"triggers": [trigger | {"publicId": None} for trigger in snapshot["triggers"]]}
