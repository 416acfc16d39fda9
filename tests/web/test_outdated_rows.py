"""After an upgrade: what is answered while read models are rebuilt because their tables have changed."""

import httpx
import pytest

from application.secrets.key_ring import KeyRing
from application.secrets.vault import Vault
from projections.engine import positions
from routines import bootstrap
from tests.projections.story import Story
from tests.running import serving


@pytest.fixture
def installation(system, tmp_path):
    """An API over a log whose read models are at its head; nobody moves them."""
    ring = KeyRing(str(tmp_path / "secret.keys"))
    ring.create()
    with bootstrap.connect(system.settings) as conn:
        story = Story(system.store, conn, Vault(system.pool, ring))
        story.ids["acme"] = story.company()
        story.issue(story.ids["acme"], "Before")
        story.project_all()
        headers = {"Authorization": f"Bearer {story.caller.token}"}
        with serving(system) as url, httpx.Client(base_url=f"{url}/api", headers=headers, timeout=20) as client:
            yield story, client


def upgrade(story, *names):
    """The rows of these read models are in the tables of an older version."""
    story.conn.execute("UPDATE positions SET shape = 'other.1' WHERE name = ANY(%s)", (list(names),))


def titles(answer):
    assert answer.status_code == 200, answer.text
    return [issue["title"] for issue in answer.json()]


def test_reads_show_the_old_rows_without_waiting(installation):
    story, client = installation
    upgrade(story, "issues")
    story.issue(story.ids["acme"], "After")

    assert ["Before"] == titles(client.get(f"/companies/{story.ids['acme']}/issues"))
    health = client.get("/health").json()
    assert "degraded" == health["status"]
    assert [True] == [model["isOutdated"] for model in health["readModels"] if model["name"] == "issues"]


def test_a_read_model_that_is_only_behind_is_waited_for_all_the_same(installation):
    story, client = installation
    upgrade(story, "routines")
    story.issue(story.ids["acme"], "After")

    answer = client.get(f"/companies/{story.ids['acme']}/issues")

    assert (503, ["issues"]) == (answer.status_code, answer.json()["details"]["readModels"])


def test_a_change_that_would_be_answered_from_old_rows_is_refused_before_it_is_recorded(installation):
    story, client = installation
    upgrade(story, "issues")
    story.issue(story.ids["acme"], "After")
    head = story.store.head()

    answer = client.post(f"/companies/{story.ids['acme']}/issues", json={"title": "Refused"})

    assert (503, "1") == (answer.status_code, answer.headers["Retry-After"])
    assert head == story.store.head()


@pytest.mark.parametrize(
    "older",
    [
        "ALTER TABLE issue RENAME COLUMN doc TO document",
        "DROP TABLE issue CASCADE",  # with its view of analysts
        "UPDATE issue SET doc = '{}'",
    ],
)
def test_old_rows_that_this_version_cannot_read_are_a_503_with_retry_after(installation, older):
    story, client = installation
    story.conn.execute(older)
    path = f"/companies/{story.ids['acme']}/issues"
    assert 500 == client.get(path).status_code  # with no upgrade to explain it

    upgrade(story, "issues")
    answer = client.get(path)

    assert (503, "1") == (answer.status_code, answer.headers["Retry-After"])
    assert ["issues"] == answer.json()["details"]["readModels"]
    assert not positions.gap(story.conn, ["issues"])[1]


def test_the_past_of_a_thing_one_of_whose_tables_is_not_there_yet_is_a_503_with_retry_after(installation):
    story, client = installation
    routine = story.routine(story.ids["acme"], None)
    story.project_all()
    past = {"asOf": story.store.head()}
    story.conn.execute("DROP TABLE routine_firings")
    upgrade(story, "routines")

    answer = client.get(f"/routines/{routine}", params=past)

    assert (503, "1") == (answer.status_code, answer.headers.get("Retry-After"))
    assert "routines" in answer.json()["details"]["readModels"]
