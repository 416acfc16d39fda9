"""
The proofs of the log over HTTP, as C2SP's verifiers read them.

Two of those are asked that we have not written: metamorphic-log (Rust) for checkpoints and proofs, and tlog-scales (Python)
for tiles. `aics-tlog` is a third one, where Python is new enough for it.
"""

import random
from base64 import b64decode
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Event as Stop
from typing import Any

import httpx
import metamorphic_log as foreign
import pytest
from tlog_scales.reader import TilesReader
from tlog_scales.signing import NoteSignature, Vkey
from tlog_scales.tlog import Checkpoint as TlogCheckpoint
from tlog_scales.tlog import ConsistencyProofInvalid, InclusionProofInvalid

from application.proof import log_key
from audit_verifier import http as verifier_http
from domain.proof.merkle import hash_leaf
from processes import notary as notaries
from processes.notary import Notary
from projections.proof import witnessing
from routines import bootstrap
from tests.api import Api
from tests.web import people
from tests.witness import Cosigner


@pytest.fixture(scope="module", autouse=True)
def log_name(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A notary is at work; the name of the log that it signs."""
    key_file: Path = tmp_path_factory.mktemp("notary") / "log.key"
    bootstrap.make_log_key(str(key_file))
    with notaries.at_work(
        Notary(key_file, 3_600.0), partial(bootstrap.connect, api.system.settings), Stop(), api.system.outage
    ):
        yield log_key.read(key_file).name


@pytest.fixture(scope="module")
def company(api: Api, log_name: str) -> str:
    """One with more than a tile of events."""
    company = api.company()
    agent, _ = api.agent(company)
    routine = api.routine(company, agent)
    for _ in range(60):
        api.post(f"/routines/{routine}/run", {})
    return company


@pytest.fixture(params=["whole log", "company"])
def prefix(request: pytest.FixtureRequest, company: str) -> str:
    return "/log" if request.param == "whole log" else f"/companies/{company}/log"


class Backend:
    """What tlog-scales reads through."""

    def __init__(self, api: Api, prefix: str, alter: Callable[[bytes], bytes] = lambda content: content) -> None:
        self._api, self._prefix, self._alter = api, prefix, alter

    def get(self, *path: str) -> bytes | None:
        answer = self._api.request("GET", "/".join((self._prefix, *path)))
        return self._alter(answer.content) if answer.status_code == 200 else None


def text(api: Api, path: str) -> str:
    answer = api.request("GET", path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    return answer.text


def checkpoint(api: Api, prefix: str) -> tuple[str, str, Any]:
    """The note, the key, and what a foreign verifier says of both."""
    note, key = text(api, f"{prefix}/checkpoint?fresh=true"), text(api, f"{prefix}/key").strip()
    return note, key, foreign.checkpoint_verify(note, [key])


def parse_proof(proof: str) -> tuple[int, list[bytes], str]:
    head, note = proof.split("\n\n", 1)
    first, index, *hashes = head.split("\n")
    assert first == "c2sp.org/tlog-proof@v1"
    return int(index.removeprefix("index ")), [b64decode(digest) for digest in hashes], note


def test_a_fresh_checkpoint_covers_what_was_recorded_before(api: Api, company: str, prefix: str):
    before = checkpoint(api, prefix)[2].size
    api.post(f"/companies/{company}/goals", {"title": "Land"})

    assert checkpoint(api, prefix)[2].size > before


def test_foreign_verifiers_take_checkpoints_tiles_and_proofs(api: Api, log_name: str, company: str, prefix: str):
    note, key, head = checkpoint(api, prefix)
    reader = TilesReader(Backend(api, prefix))
    read = reader.get_checkpoint()
    read.verify(Vkey.from_string(key))

    assert head.origin == (log_name if prefix == "/log" else f"{log_name}/companies/{company}")
    assert (read.size, read.root_hash) == (head.size, head.root) == (head.size, reader.calculate_root_hash())
    for place in random.Random(1).sample(range(head.size), 20):
        leaf = hash_leaf(reader.get_entry(place))
        proof = reader.get_inclusion_proof(place, head.size)
        proof.check(leaf, head.root)
        foreign.checkpoint_verify_inclusion(note, [key], place, leaf, proof.node_hashes)


def test_the_log_grows_by_nothing_but_what_is_added(api: Api, company: str, prefix: str):
    older, key, head = checkpoint(api, prefix)
    for number in range(5):
        api.post(f"/companies/{company}/goals", {"title": f"Land {number}"})
    newer, _, later = checkpoint(api, prefix)

    lines = text(api, f"{prefix}/consistency/{head.size}/{later.size}").splitlines()
    foreign.checkpoint_verify_consistency(older, newer, [key], [b64decode(line) for line in lines])
    reader = TilesReader(Backend(api, prefix))
    reader.get_checkpoint()
    reader.get_consistency_proof(head.size, later.size).check(head.root, later.root)


def test_an_events_proof_holds_without_the_service(api: Api, prefix: str):
    _, key, head = checkpoint(api, prefix)
    reader = TilesReader(Backend(api, prefix))
    reader.get_checkpoint()
    entry = reader.get_entry(head.size - 2)
    position = int.from_bytes(entry[:8], "big")

    place, hashes, note = parse_proof(text(api, f"{prefix}/proofs/{position}"))

    assert place == head.size - 2
    foreign.checkpoint_verify_inclusion(note, [key], place, hash_leaf(entry), hashes)


def test_foreign_verifiers_refuse_whatever_was_altered(api: Api, prefix: str):
    """A hundred of each: checkpoints, proofs, tiles and entries with one flipped bit."""
    note, key, head = checkpoint(api, prefix)
    reader = TilesReader(Backend(api, prefix))
    reader.get_checkpoint()
    chance = random.Random(2)
    refused = 0
    for _ in range(100):
        place = chance.randrange(head.size)
        leaf, proof = hash_leaf(reader.get_entry(place)), reader.get_inclusion_proof(place, head.size)
        number = chance.randrange(len(proof.node_hashes))
        proof.node_hashes[number] = flipped(chance, proof.node_hashes[number])
        with pytest.raises(foreign.VerifyError):
            foreign.checkpoint_verify_inclusion(note, [key], place, leaf, proof.node_hashes)
        with pytest.raises(InclusionProofInvalid):
            proof.check(leaf, head.root)
        content = note.encode()
        altered = flipped(chance, content)
        try:
            foreign.checkpoint_verify(altered.decode("utf-8"), [key])
        except (foreign.VerifyError, UnicodeDecodeError):
            refused += 1
        whole = reader.get_inclusion_proof(place, head.size)
        with pytest.raises(InclusionProofInvalid):
            whole.check(hash_leaf(flipped(chance, reader.get_entry(place))), head.root)
        older = chance.randrange(2, head.size - 1)
        steps = reader.get_consistency_proof(older, head.size)
        steps.node_hashes[0] = flipped(chance, steps.node_hashes[0])
        with pytest.raises(ConsistencyProofInvalid):
            steps.check(reader.mth(0, older), head.root)
    assert refused == 100
    for _ in range(10):
        altered_reader = TilesReader(Backend(api, prefix, partial(flipped, chance)))
        altered_reader.set_size(head.size)
        assert altered_reader.calculate_root_hash() != head.root


def flipped(chance: random.Random, content: bytes) -> bytes:
    place = chance.randrange(len(content))
    return content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]


def test_a_third_verifier_audits_the_tiles_and_refuses_altered_ones(api: Api, prefix: str):
    aics = pytest.importorskip("aics_tlog", reason="it needs Python 3.12")
    note, key, head = checkpoint(api, prefix)
    chance = random.Random(3)

    class Reader:
        def __init__(self, alter: Callable[[bytes], bytes] = lambda content: content) -> None:
            self._backend = Backend(api, prefix, alter)

        def read_tile(self, level: int, index: int, width: int | None) -> bytes | None:
            return self._backend.get(aics.tiles.tile_path(level, index, width))

        def read_entry_bundle(self, index: int, width: int | None) -> bytes | None:
            return self._backend.get(aics.tiles.entry_bundle_path(index, width))

    assert aics.verify_checkpoint(aics.parse_note(note), aics.parse_vkey(key)).ok
    aics.audit_tiles(Reader(), head.size, head.root)
    for _ in range(10):
        with pytest.raises((aics.TileVerificationError, ValueError)):
            aics.audit_tiles(Reader(partial(flipped, chance)), head.size, head.root)


@pytest.mark.parametrize(
    "path",
    [
        *("tile/0/1", "tile/0/0000", "tile/0/000.p/256", "tile/0/000.p/0", "tile/64/000", "tile/00/000", "tile/0/x000"),
        *("tile/0/999", "tile/0/000.p/01", "tile/entries/x1/000", "tile/9/000", "tile/-1/000", "tile/entries", "tile"),
        *("tile/0/" + "x999/" * 6 + "999", "tile/entries/" + "x999/" * 6 + "999", "tile/0/" + "x999/" * 9 + "999"),
        *("proofs/9999999", "consistency/0/99999999", "consistency/9/8", "nothing"),
    ],
)
def test_what_is_not_there_is_not_found(api: Api, company: str, prefix: str, path: str):
    assert api.request("GET", f"{prefix}/{path}").status_code == 404


@pytest.mark.parametrize(
    "path", ["proofs/0", "proofs/x", "consistency/-1/2", "consistency/1/x", "checkpoint?fresh=maybe", "key?a=b"]
)
def test_bad_input_is_refused_with_its_name(api: Api, company: str, prefix: str, path: str):
    answer = api.request("GET", f"{prefix}/{path}")

    assert answer.status_code == 400
    assert answer.json()["details"][0]["path"]


def test_an_event_of_another_company_has_no_proof_here(api: Api, company: str):
    other = api.company("Other")
    checkpoint(api, f"/companies/{other}/log")
    reader = TilesReader(Backend(api, f"/companies/{other}/log"))
    reader.get_checkpoint()
    position = int.from_bytes(reader.get_entry(0)[:8], "big")
    checkpoint(api, f"/companies/{company}/log")

    assert api.request("GET", f"/companies/{other}/log/proofs/{position}").status_code == 200
    assert api.request("GET", f"/companies/{company}/log/proofs/{position}").status_code == 404


def test_proofs_are_for_members_and_those_of_the_whole_log_for_instance_admins(api: Api, company: str):
    checkpoint(api, f"/companies/{company}/log")
    callers = {
        None: (401, 401),
        "pcp_board_unknown": (401, 401),
        people.user(api)[1]: (403, 403),
        people.member(api, company, "viewer"): (403, 200),
        people.member(api, company, "owner"): (403, 200),
        api.agent(company)[1]: (403, 403),
        people.user(api, admin=True)[1]: (200, 200),
    }
    for token, expected in callers.items():
        for path in ("checkpoint", "key", "tile/0/000.p/2", "tile/entries/000.p/2", "consistency/1/2"):
            answers = [
                api.request("GET", f"{prefix}/{path}", token=token).status_code
                for prefix in ("/log", f"/companies/{company}/log")
            ]
            assert tuple(answers) == expected, (token, path)


def test_a_company_that_is_not_there_is_not_found(api: Api):
    assert api.request("GET", "/companies/nothing/log/checkpoint").status_code == 404


def test_the_verifier_reads_the_log_over_http_by_its_own_code(api: Api, company: str, prefix: str):
    log = verifier_http.Log(f"{api.url}/api{prefix}", api.token)
    _, _, head = checkpoint(api, prefix)
    newest = log.checkpoint()
    check = verifier_http.TreeCheck([newest], whole=prefix == "/log")
    for entries in log.entries(newest.size):
        check.add(entries)

    report = check.finish()

    assert (report.events, report.findings) == (head.size, [])


def test_one_who_waits_in_vain_for_a_fresh_checkpoint_is_told_to_come_again(api: Api, company: str, monkeypatch):
    monkeypatch.setattr("web.paperclip.log_proofs.FRESH_S", 0.01)
    monkeypatch.setattr(Notary, "step", lambda *_: False)
    api.post(f"/companies/{company}/goals", {"title": "Wait"})

    answer: httpx.Response = api.request("GET", f"/companies/{company}/log/checkpoint?fresh=true")

    assert answer.status_code == 503
    assert "Retry-After" in answer.headers


@pytest.fixture
def cosigned_checkpoint(api: Api, company: str) -> Iterator[tuple[Cosigner, str]]:
    """A witness has cosigned the newest checkpoint of the whole log; its key, and the checkpoint without it."""
    cosigner = Cosigner("witness.example/w1")
    note = text(api, "/log/checkpoint?fresh=true")
    with bootstrap.connect(api.system.settings) as conn:
        witnessing.name_witnesses(conn, [cosigner.verifier_key])
        (due,) = witnessing.due(conn, api.system.clock())
        witnessing.note_cosigned(conn, due, cosigner.line(due.checkpoint))
        yield cosigner, note
        witnessing.name_witnesses(conn, [])


def test_the_newest_checkpoint_and_proofs_have_the_lines_of_witnesses(
    api: Api, cosigned_checkpoint: tuple[Cosigner, str]
):
    cosigner, note = cosigned_checkpoint

    witnessed = text(api, "/log/checkpoint")

    assert witnessed == f"{note}{cosigner.line(note)}\n" == text(api, "/log/checkpoint?witnessed=true")
    Vkey.from_string(cosigner.verifier_key).get_verifier().verify_note(
        NoteSignature.from_line(witnessed.splitlines()[-1]), TlogCheckpoint.from_text(witnessed)
    )
    assert parse_proof(text(api, "/log/proofs/1"))[2] == witnessed


def test_what_was_cosigned_stays_to_be_had_when_newer_checkpoints_are_not(
    api: Api, company: str, cosigned_checkpoint: tuple[Cosigner, str]
):
    cosigner, note = cosigned_checkpoint
    api.post(f"/companies/{company}/goals", {"title": "Land"})
    newer = text(api, "/log/checkpoint?fresh=true")
    size = int(newer.split("\n")[1])

    assert "\N{EM DASH} " in newer
    assert cosigner.name not in newer == text(api, "/log/checkpoint")
    assert text(api, "/log/checkpoint?witnessed=true") == f"{note}{cosigner.line(note)}\n"
    assert cosigner.name in text(api, "/log/proofs/1")
    assert parse_proof(text(api, f"/log/proofs/{size}"))[2] == newer


def test_without_a_witness_there_is_no_cosigned_checkpoint(api: Api, company: str):
    for path, words in (("/log", "no witnesses"), (f"/companies/{company}/log", "of the whole log")):
        answer = api.request("GET", f"{path}/checkpoint?witnessed=true")
        assert answer.status_code == 404
        assert words in answer.json()["error"]


def test_health_and_metrics_say_how_far_witnesses_have_come(api: Api, cosigned_checkpoint: tuple[Cosigner, str]):
    cosigner, note = cosigned_checkpoint
    size = int(note.split("\n")[1])

    assert api.get("/health", token=None)["witnesses"] == [
        {"name": cosigner.name, "size": size, "behindSince": None, "reason": None}
    ]
    metrics = httpx.get(api.url.removesuffix("/api") + "/metrics").text
    assert f'routines_witness_position{{witness="{cosigner.name}"}} {float(size)}' in metrics
    assert f'routines_witness_behind_seconds{{witness="{cosigner.name}"}} 0.0' in metrics
