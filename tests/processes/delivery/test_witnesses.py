"""
Witnesses cosign each new checkpoint of the log, over real HTTP, and refuse a log that does not go on from what they saw.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from tlog_scales.signing import NoteSignature, Vkey
from tlog_scales.tlog import Checkpoint

from application.outage import Outage
from application.proof import log_key
from domain.proof.checkpoints import Head
from domain.proof.witnesses import Witness as Named
from domain.proof.witnesses import read_key
from processes.delivery import worker
from processes.delivery.outbound import PRIVATE, Client
from processes.delivery.witnesses import LOCK, LONGEST, TAKEN, Witnesses
from processes.notary import Notary
from projections.delivery import delivery_locks
from projections.proof import log_tree, witnessing
from routines import bootstrap
from routines.local.listening import free_port
from routines.settings import from_env
from tests.processes.delivery.conftest import trusted_authorities
from tests.waiting import wait_for
from tests.witness import Cosigner, Witness, serve_witness
from web.http.backend import Backend
from web.monitoring.checkup import WITNESS_BOUND, Checkup

AGAIN = timedelta(minutes=13)  # after that a witness that has failed is asked again, jitter included


class Signed:
    """A log that is signed, and the witnesses that are asked for it."""

    def __init__(self, conn, key_file: Path) -> None:
        self.conn = conn
        self.key = log_key.read(key_file)
        self._notary = Notary(key_file, 0.0)

    def grow(self, count: int) -> int:
        """Record events and sign; return the size that is signed."""
        body = b'{"at":"2026-11-29T00:00:00Z","actor":"system","event":{"type":"x"}}'
        streams = [uuid4() for _ in range(count)]
        self.conn.execute(
            "SELECT log.append(%b, %b, %b, %b, %b, %b)",
            (streams, [1] * count, ["agent.paused"] * count, [body] * count, [], []),
        )
        while self._notary.step(self.conn):
            pass
        return log_tree.log_end(self.conn)

    @property
    def verifier_key(self) -> str:
        return self.key.verifier_key(self.key.name)

    def forge(self, size: int) -> str:
        """A checkpoint of another history, signed by the same key."""
        return self.key.sign(self.key.name, Head(size=size, root=bytes(32)))

    def cosigned(self, size: int) -> str | None:
        newest = witnessing.newest_witnessed(self.conn)
        return newest.checkpoint if newest is not None and newest.size == size else None

    def status(self, witness: Witness) -> witnessing.WitnessStatus | None:
        return next((one for one in witnessing.statuses(self.conn) if one.name == witness.cosigner.name), None)

    def reason(self, witness: Witness) -> str | None:
        status = self.status(witness)
        return None if status is None else status.reason


@pytest.fixture
def signed_log(system, tmp_path) -> Iterator[Signed]:
    bootstrap.make_log_key(str(tmp_path / "log.key"))
    with bootstrap.connect(system.settings) as conn:
        log_tree.begin(conn)
        yield Signed(conn, tmp_path / "log.key")


@pytest.fixture
def witnesses(signed_log) -> Iterator[tuple[Witness, Witness]]:
    """Two that know the log."""
    both = Witness("witness.example/w1"), Witness("witness.example/w2")
    with ExitStack() as stack:
        for witness in both:
            witness.trust(signed_log.verifier_key)
            stack.enter_context(serve_witness(witness))
        yield both


@pytest.fixture
def start_delivery(executor, system, clock, in_thread):
    """Starts a delivery process in a thread that asks these witnesses."""

    def start(*witnesses, allow_private=True):
        named = [(one.url, one.cosigner.verifier_key) if isinstance(one, Witness) else one for one in witnesses]
        text = ", ".join(f"{url} {key}" for url, key in named)
        variables = {"WITNESSES": text, "ALLOW_PRIVATE_TARGETS": str(allow_private).lower()}
        settings = from_env(
            {"ROUTINES_DATABASE_URL": "postgresql://nobody@nowhere/log"}
            | {f"ROUTINES_{name}": value for name, value in variables.items()}
        )
        client = Client(clock, limits=settings.limits, context=trusted_authorities())
        delivery_worker = worker.DeliveryWorker(executor, system.store.after, client, settings.log_witnesses)
        return in_thread(
            partial(worker.run, outage=Outage()), delivery_worker, client, lambda: bootstrap.connect(system.settings)
        )

    return start


def test_each_new_checkpoint_is_cosigned_by_all_as_a_foreign_verifier_says(signed_log, witnesses, start_delivery):
    first, second = witnesses
    older = signed_log.grow(3)
    start_delivery(first, second)
    wait_for(lambda: first.sizes == second.sizes == [older])
    size = signed_log.grow(5)

    wait_for(lambda: first.sizes == second.sizes == [size])
    text = wait_for(lambda: (text := signed_log.cosigned(size)) and text.count("\n\N{EM DASH} ") == 3 and text)

    lines = text.partition("\n\n")[2].splitlines()
    assert lines[0].startswith(f"\N{EM DASH} {signed_log.key.name} ")
    for witness, line in zip(witnesses, lines[1:], strict=True):
        verifier = Vkey.from_string(witness.cosigner.verifier_key).get_verifier()
        verifier.verify_note(NoteSignature.from_line(line), Checkpoint.from_text(text))
    assert [request.older for request in first.requests] == [0, older]


def test_a_witness_that_has_seen_more_than_we_remember_is_sent_the_proof_from_there(
    signed_log, witnesses, start_delivery
):
    witness = witnesses[0]
    older = signed_log.grow(3)
    witness.heads[signed_log.key.name] = older, log_tree.tree(signed_log.conn, log_tree.WHOLE_LOG).root(older)
    size = signed_log.grow(4)
    start_delivery(witness)

    wait_for(lambda: signed_log.cosigned(size))

    assert [request.older for request in witness.requests] == [0, older]


def test_a_witness_that_is_away_holds_up_nobody_and_is_asked_again(
    system, signed_log, witnesses, start_delivery, clock
):
    away, there = witnesses
    away.forced = 503, b""
    start_delivery(away, there)
    size = signed_log.grow(3)

    wait_for(lambda: signed_log.cosigned(size))
    failed = wait_for(lambda: (status := signed_log.status(away)) and status.reason and status)
    assert (failed.size, failed.behind_since, failed.reason) == (0, clock.now, "The receiver answered 503")

    away.forced = None
    clock.now += AGAIN
    signed_log.conn.execute("SELECT pg_notify('routines_log', '')")  # what a recorded event does as well
    wait_for(lambda: away.sizes == [size])
    status = wait_for(lambda: (status := signed_log.status(away)) and status.size == size and status)
    assert (status.behind_since, status.reason) == (None, None)


def test_a_witness_cannot_ask_to_be_left_alone_for_longer_than_our_longest_pause(
    signed_log, witnesses, start_delivery, clock
):
    witness = witnesses[0]
    witness.forced, witness.retry_after = (503, b""), "86400"
    start_delivery(witness)
    signed_log.grow(3)

    wait_for(lambda: signed_log.reason(witness))

    assert witnessing.next_attempt(signed_log.conn, clock.now) == clock.now + LONGEST


def test_witnesses_that_another_process_is_asking_are_left_alone_for_a_moment(
    system, signed_log, witnesses, executor, clock
):
    async def scene(conn):
        key = witnesses[0].cosigner.verifier_key
        here = Witnesses(executor, Client(clock), [Named(url=witnesses[0].url, verifier_key=key, key=read_key(key))])
        assert await here.ask_due(conn, clock.now) == 1
        await asyncio.gather(*here.tasks)
        assert (await here.ask_due(conn, clock.now), here.wakes(conn, clock.now)) == (0, [clock.now + TAKEN])
        clock.now += TAKEN
        assert (await here.ask_due(conn, clock.now), here.wakes(conn, clock.now)) == (1, [])
        await asyncio.gather(*here.tasks)

        clock.now -= timedelta(hours=1)  # it is put right
        assert (await here.ask_due(conn, clock.now), here.wakes(conn, clock.now)) == (1, [])
        await asyncio.gather(*here.tasks)

    signed_log.grow(3)
    with bootstrap.connect(system.settings) as conn, bootstrap.connect(system.settings) as other:
        assert delivery_locks.hold(other, LOCK)
        asyncio.run(scene(conn))
    assert witnesses[0].requests == []


def test_health_says_so_when_a_witness_has_been_behind_for_a_while(system, signed_log, witnesses):
    key = witnesses[0].cosigner.verifier_key
    witnessing.name_witnesses(signed_log.conn, [key])
    now = system.clock()
    witnessing.note_failed(signed_log.conn, key, "The receiver answered 503", now, now)
    checkup = Checkup(Backend(system.executor, system.pool, 1.0))

    assert "witness_behind" not in checkup().reasons()
    signed_log.conn.execute("UPDATE log_witness SET behind_since = behind_since - %s", (WITNESS_BOUND,))
    assert "witness_behind" in checkup().reasons()


def test_nobody_cosigns_a_log_that_is_shorter_than_what_they_have_seen(signed_log, witnesses, start_delivery):
    witness = witnesses[0]
    witness.heads[signed_log.key.name] = 9, bytes(32)
    start_delivery(witness)
    signed_log.grow(3)

    reason = wait_for(lambda: signed_log.reason(witness))

    assert reason == "It has cosigned 9 events of this log, of which 3 are there"
    assert signed_log.cosigned(3) is None


def test_nobody_cosigns_a_log_that_does_not_go_on_from_what_they_have_seen(signed_log, witnesses, start_delivery):
    branched, same = witnesses
    branched.heads[signed_log.key.name] = 2, bytes(32)
    same.heads[signed_log.key.name] = 3, bytes(32)
    start_delivery(branched, same)
    signed_log.grow(3)

    wait_for(lambda: signed_log.reason(branched) and signed_log.reason(same))

    assert "does not go on from the checkpoint" in signed_log.reason(branched)
    assert "another checkpoint of this size" in signed_log.reason(same)
    assert signed_log.cosigned(3) is None


NO_COSIGNATURES = [
    ((404, b""), "It does not know the log: register"),
    ((403, b""), "It does not know the key of the log: register"),
    ((409, b"many\n"), "contradicts itself"),
    ((409, b"9223372036854775808\n"), "contradicts itself"),
    ((200, b""), "no valid cosignature"),
    ((200, "\N{EM DASH} witness.example/w5 AAAA\n".encode()), "no valid cosignature"),
    ((200, b"\xff" * 5_000), "no valid cosignature"),
    ((302, b""), "The receiver answered 302"),
    ((200, b"x" * 2**21), "too long to be read"),
]


def test_an_answer_that_is_no_cosignature_is_said_to_be_none(signed_log, start_delivery):
    witnesses = [Witness(f"witness.example/w{place}") for place in range(len(NO_COSIGNATURES))]
    with ExitStack() as stack:
        for witness, (answer, _) in zip(witnesses, NO_COSIGNATURES, strict=True):
            witness.trust(signed_log.verifier_key)
            witness.forced = answer
            stack.enter_context(serve_witness(witness))
        start_delivery(*witnesses)
        size = signed_log.grow(3)
        reasons = [wait_for(lambda one=one: signed_log.reason(one)) for one in witnesses]

    assert [] == [
        (said, reason) for said, (_, reason) in zip(reasons, NO_COSIGNATURES, strict=True) if reason not in said
    ]
    assert signed_log.cosigned(size) is None


def test_lines_of_others_and_of_other_checkpoints_are_not_kept(signed_log, witnesses, start_delivery):
    witness = witnesses[0]
    size = signed_log.grow(3)
    state = log_tree.state_of(signed_log.conn, log_tree.WHOLE_LOG)
    other = Cosigner("witness.example/w9").line(state.checkpoint)
    own = witness.cosigner.line(state.checkpoint)
    stale = witness.cosigner.line(signed_log.forge(size))
    witness.forced = 200, f"{other}\n{stale}\n{own}\n".encode()
    start_delivery(witness)

    text = wait_for(lambda: signed_log.cosigned(size))

    assert text == f"{state.checkpoint}{own}\n"


def test_a_private_address_is_asked_only_if_that_is_allowed(signed_log, witnesses, start_delivery):
    witness = witnesses[0]
    start_delivery(witness, allow_private=False)
    signed_log.grow(3)

    assert wait_for(lambda: signed_log.reason(witness)) == PRIVATE
    assert witness.requests == []


def test_a_witness_that_is_no_longer_named_is_forgotten(signed_log, witnesses, start_delivery):
    first, second = witnesses
    witnessing.name_witnesses(signed_log.conn, [first.cosigner.verifier_key, second.cosigner.verifier_key])
    start_delivery(second)

    wait_for(lambda: [one.name for one in witnessing.statuses(signed_log.conn)] == ["witness.example/w2"])


def test_a_witness_of_others_cosigns_the_log_and_refuses_another_of_its_name(signed_log, start_delivery, tmp_path):
    aics = pytest.importorskip("aics_witness.cli", reason="it needs Python 3.12")
    command = [sys.executable, "-m", "aics_witness"]
    config = ["--config", str(tmp_path / "witness.json")]
    name = ["--name", "witness.example/aics"]
    said = subprocess.run([*command, "init", *config, *name], check=True, capture_output=True, text=True).stdout
    key = next(word for word in said.split() if word.startswith("witness.example/aics+"))
    assert aics.main(["add-log", *config, "--origin", signed_log.key.name, "--vkey", signed_log.verifier_key]) == 0
    port = free_port("127.0.0.1", 0)
    with subprocess.Popen([*command, "serve", *config, "--listen", f"127.0.0.1:{port}"]) as serving:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: answers(f"{url}/healthz"))
            start_delivery((url, key))
            older = signed_log.grow(3)
            wait_for(lambda: signed_log.cosigned(older))
            size = signed_log.grow(600)
            text = wait_for(lambda: signed_log.cosigned(size))
            forged = f"old {size}\n\n{signed_log.forge(size)}".encode()
            assert httpx.post(f"{url}/add-checkpoint", content=forged).status_code in {409, 422}
        finally:
            serving.terminate()
    Vkey.from_string(key).get_verifier().verify_note(
        NoteSignature.from_line(text.splitlines()[-1]), Checkpoint.from_text(text)
    )


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
