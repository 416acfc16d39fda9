"""
Secrets are planted and minted wherever the product takes or makes one; then each is searched for in all it left behind.

One system runs, at its most talkative, and is used and misused as far as secrets go: by its API, its command line,
with its vault closed and its database gone. Every secret may be seen where it is shown once, and nowhere else. What
is searched: the rows of every table, the files of the database (the write-ahead log with them), what `routines log`
says, every log and every output, the command lines of the processes, and every answer that was ever given.
"""

import base64
import json
import re
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.acceptance.canaries import Canaries, find_canaries
from tests.acceptance.secrets_in_use import (
    SIGNING_MODES,
    Story,
    change_modes,
    close_the_vault,
    dump,
    lose_the_database,
    read_everything,
    restore,
    say_wrong_things,
    use_deliveries,
    use_keys,
    use_tasks,
    use_the_command_line,
    use_webhooks,
)
from tests.waiting import exists
from verification.faults.receiver import Receiver

PLACES = ("rows", "files", "events", "logs", "outputs", "answers")


@pytest.fixture(scope="module")
def canary_story(tmp_path_factory):
    story = Story(tmp_path_factory.mktemp("canaries"))
    try:
        story.start()
        company = story.create("company", "/companies", {"name": "Acme"})["id"]
        agent = story.create("agent", f"/companies/{company}/agents", {"name": "Scout"})["id"]
        body = {"title": "Check", "assigneeAgentId": agent, "concurrencyPolicy": "always_enqueue"}
        routine = story.create("routine", f"/companies/{company}/routines", body)["id"]
        use_keys(story, company, agent)
        webhooks = use_webhooks(story, routine)
        with Receiver() as receiver:
            use_tasks(story, receiver)
            use_deliveries(story, company, receiver)
        say_wrong_things(story, company)
        close_the_vault(story, routine, webhooks)
        lose_the_database(story, company, webhooks)
        change_modes(story, webhooks)
        restore(story, routine, webhooks)
        use_the_command_line(story)
        story.bait = story.canaries.plant("a secret that a client put into a comment")
        issue = story.send("issues", "GET", f"/companies/{company}/issues").json()[0]["id"]
        story.create("bait", f"/issues/{issue}/comments", {"body": story.bait})
        read_everything(story, company, routine)
        assert 0 == story.run("log")
        state = json.loads((story.data_dir / "up.json").read_text())
        pids = [state["pid"], *state["processes"].values()]
        story.argvs = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids if exists(pid)]
        dump(story)
        story.stop()
        story.keep("outputs", "postgres", (story.place.root / "logs/postgres.log").read_bytes())
        story.directories |= {"files": story.place.home, "logs": story.data_dir / "logs"}
        yield story
    finally:
        story.end()


def of_bait(canary_story):
    """The one secret that is to be found."""
    bait = Canaries()
    bait.add("bait", canary_story.bait)
    return bait


def of_others(canary_story):
    other_canaries = Canaries()
    other_canaries.known = {
        name: secret for name, secret in canary_story.canaries.known.items() if secret != canary_story.bait.encode()
    }
    return other_canaries


@pytest.mark.parametrize("place", PLACES)
def test_no_secret_is_left_anywhere(canary_story, place):
    assert set() == find_canaries(of_others(canary_story), canary_story.directories[place])


@pytest.mark.parametrize("place", ["rows", "files", "events", "answers"])
def test_what_a_client_says_in_public_is_found_wherever_that_is_kept(canary_story, place):
    """So the search looks at what there is: a comment is in the rows, the files, the events and an answer."""
    assert {"bait"} == {name for name, _ in find_canaries(of_bait(canary_story), canary_story.directories[place])}


def test_there_were_secrets_of_every_kind_and_much_to_search(canary_story):
    minted_names = [name for name in canary_story.canaries.known if re.search(r"\d$", name)]

    assert len(minted_names) >= 3 + 3 * (len(SIGNING_MODES) - 1) + 2 + 2 + 1 + 6
    assert len(canary_story.canaries.known) >= 58
    assert len(list(canary_story.directories["answers"].iterdir())) > 150
    assert b'"run.fired"' in b"".join(path.read_bytes() for path in canary_story.directories["events"].iterdir())
    logs = b"".join(path.read_bytes() for path in canary_story.directories["logs"].iterdir())
    assert b"vault_closed" in logs
    assert b"request_refused" in logs


@pytest.mark.parametrize("place", PLACES)
def test_the_search_finds_each_form_of_a_secret_in_each_place(canary_story, place):
    kinds = (
        "vault key",
        "first board token",
        "create hmac_sha256 0",
        "create standard_webhooks 0",
        "database password",
    )
    name_by_leak = {}
    for name in kinds:
        for number, written in enumerate(ways_to_leak(canary_story.canaries.known[name])):
            leak = canary_story.directories[place] / f"{number}-{name}.leak"
            leak.write_bytes(written)
            name_by_leak[leak] = name

    hits = find_canaries(of_others(canary_story), canary_story.directories[place])

    for leak, name in name_by_leak.items():
        leak.unlink()
        assert (name, leak.name) in hits


def ways_to_leak(secret):
    said = b'{"token": "' + secret + b'"}'
    return [
        *(said, b64encode(said), base64.urlsafe_b64encode(said), secret.hex().encode(), said.hex().upper().encode()),
        *(quote(secret, safe="").encode(), json.dumps(said.decode()).encode(), secret[::-1]),
        *(b"..." + secret[-(len(secret) // 2 + 1) :], secret[: len(secret) // 2] + b"..."),
    ]
