"""Each kind of event says in plain words what happened."""

import re
from pathlib import Path
from uuid import UUID

import pytest
from eventsourcing.persistence import StoredEvent

from application.event_store.codec import from_stored
from domain.audit import sentences
from domain.audit.belonging import Belonging
from domain.events import STORED_NAMES
from domain.recorded import Recorded, Unreadable

STORED = Path(__file__).parents[2] / "stored"
FILES = sorted(path.name for path in STORED.iterdir())
STREAM = UUID("00000000-0000-4000-8000-000000000099")
IDS = [UUID(int=number) for number in range(1, 5)]
BELONGING = Belonging(routine_id=IDS[0], trigger_id=IDS[1], run_id=IDS[2], issue_id=IDS[3])
NAMES = {
    STREAM: "Nightly",
    IDS[0]: "Check the inbox",
    IDS[3]: "ACM-7",
    UUID("00000000-0000-4000-8000-000000000001"): "Ann",
}


def read_stored(file: str) -> Recorded:
    name = re.split(r"[~]|\.json$", file)[0]
    return from_stored(StoredEvent(STREAM, 1, name, (STORED / file).read_bytes()))


def sentence_of(file: str) -> str:
    return sentences.sentence(read_stored(file), BELONGING, NAMES)


def test_every_kind_of_event_has_its_sentence():
    assert set(STORED_NAMES) == set(sentences.SENTENCES)


@pytest.mark.parametrize("file", FILES)
def test_every_stored_example_makes_one_readable_sentence(file: str):
    sentence = sentence_of(file)

    assert re.fullmatch(r"[A-Z].*, by .+\.", sentence)
    assert not re.search(r"[{}]|None|\(\)|UUID|datetime", sentence.replace("{{a}}", ""))
    assert len(sentence) < 600


@pytest.mark.parametrize("file", FILES)
def test_what_a_sentence_names_is_asked_for_before(file: str):
    recorded = read_stored(file)
    named_ids = sentences.named_in(recorded, BELONGING)
    shown_ids = set(map(UUID, re.findall(r"[0-9a-f-]{36}", sentences.sentence(recorded, BELONGING, {}))))

    ours = {IDS[1], IDS[2]}  # triggers, runs and trajectories have no names
    ours |= {UUID("00000000-0000-4000-8000-000000000007"), UUID("00000000-0000-4000-8000-000000000041")}
    others = {UUID(recorded.cause)} if recorded.cause else set()
    assert shown_ids - ours - others <= named_ids


def test_a_sentence_says_what_happened_and_who_did_it_in_which_session():
    assert sentence_of("agent.paused.json").startswith("The agent “Nightly” was paused: ")
    assert (
        sentence_of("user.registered.json")
        == "The user Ann was registered as an admin of the instance, by the user “Ann”."
    )


def test_an_event_that_cannot_be_read_is_said_to_be():
    unreadable = Recorded(
        stream_id=STREAM,
        version=1,
        at=read_stored("agent.paused.json").at,
        actor="unreadable",
        company_id=None,
        event=Unreadable("comet.seen", "UnknownEvent"),
    )

    assert sentences.sentence(unreadable, BELONGING, {}) == (
        "This version of the service cannot read what happened (comet.seen)."
    )
