"""The trees of the log: they follow it, whatever its events are, and everything is proved from what is stored of them."""

import io
import json
from collections import defaultdict
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import metamorphic_log as foreign
import psycopg
import pytest

from application.audit import export, log_reader
from audit_verifier import notes, rows
from audit_verifier.chain import Head, LogCheck
from audit_verifier.http import TreeCheck
from domain.proof.leaves import leaf_of
from domain.proof.merkle import Frontier, hash_leaf
from processes.notary import Notary
from projections.engine.table import Connection
from projections.proof import log_tree
from projections.proof.log_tree import WHOLE_LOG, SignedTree
from routines import bootstrap
from routines.settings import Settings
from tests.projections.story import Story


def grow(conn: Connection) -> None:
    log_tree.begin(conn)
    while log_tree.grow(conn):
        pass


def leaves(conn: Connection) -> dict[UUID, list[bytes]]:
    """The leaves that each tree has to have, by the rows of the log."""
    trees = defaultdict[UUID, list[bytes]](list)
    for row in log_reader.read_rows(conn, log_reader.read_head(conn).position):
        us = (row.recorded_at - log_reader.EPOCH) // log_reader.MICROSECOND
        digest = sha256(row.body).digest()
        leaf = leaf_of(row.position, row.stream_id.bytes, row.version, row.name, digest, us, row.recorded_by)
        trees[WHOLE_LOG].append(leaf)
        recorded = _company_of(row.body)
        if recorded is not None:
            trees[recorded].append(leaf)
    return trees


def _company_of(body: bytes) -> UUID | None:
    company = json.loads(body).get("company_id")
    return None if company is None else UUID(company)


def root(of: list[bytes]) -> bytes:
    frontier = Frontier()
    for leaf in of:
        list(frontier.push(hash_leaf(leaf)))
    return frontier.root


def test_the_log_and_each_company_have_a_tree_of_exactly_their_events(told_story: Story, conn: Connection):
    grow(conn)

    expected = leaves(conn)
    assert len(expected) > 2
    assert {id_ for (id_,) in conn.execute("SELECT id FROM log_tree")} == expected.keys()
    for id_, own in expected.items():
        assert log_tree.state_of(conn, id_).size == len(own)
        assert log_tree.entries(conn, id_, 0, len(own) + 10) == own
        assert log_tree.tree(conn, id_).root(len(own)) == root(own)


def test_every_event_is_proved_to_be_in_its_trees(told_story: Story, conn: Connection):
    grow(conn)

    for id_, own in leaves(conn).items():
        tree, size, whole = log_tree.tree(conn, id_), len(own), root(own)
        for place, leaf in enumerate(own):
            foreign.verify_inclusion(place, size, hash_leaf(leaf), tree.prove_inclusion(place, size), whole)


def test_every_size_of_a_tree_is_proved_to_be_the_beginning_of_every_later_one(told_story: Story, conn: Connection):
    grow(conn)

    own = leaves(conn)[WHOLE_LOG]
    tree = log_tree.tree(conn, WHOLE_LOG)
    roots = [root(own[:size]) for size in range(len(own) + 1)]
    for older in range(1, len(own), 7):
        proof = tree.prove_consistency(older, len(own))
        foreign.verify_consistency(older, len(own), proof, roots[older], roots[-1])
        with pytest.raises(foreign.VerifyError):
            foreign.verify_consistency(older, len(own), proof, roots[older - 1], roots[-1])


def test_a_log_with_everything_in_it_is_verified_whole_and_for_each_company(
    told_story: Story, conn: Connection, tmp_path: Path
):
    bootstrap.make_log_key(str(tmp_path / "log.key"))
    notary = Notary(tmp_path / "log.key", 0.0)
    log_tree.begin(conn)
    while notary.step(conn):
        pass
    ids = [id_ for (id_,) in conn.execute("SELECT id FROM log_tree")]
    checkpoints = {id_: notes.read_checkpoint(log_tree.state_of(conn, id_).checkpoint) for id_ in ids}
    head = log_reader.read_head(conn)

    content = io.BytesIO(b"".join(export.lines(head, (), log_reader.read_rows(conn, head.position))))
    check = LogCheck(checkpoints.values())
    rows.read_header(content)
    for some in rows.read_lines(content):
        check.add(some)
    report = check.finish(Head(head.position, head.hash))

    assert (report.events, report.findings) == (head.position, [])
    for id_, checkpoint in checkpoints.items():
        of_tree = TreeCheck([checkpoint], whole=id_ == WHOLE_LOG)
        of_tree.add(log_tree.entries(conn, id_, 0, checkpoint.size))
        assert of_tree.finish().findings == []


def test_a_checkpoint_takes_the_place_of_no_larger_one(told_story: Story, conn: Connection):
    grow(conn)
    for size in (3, 2):
        log_tree.sign(conn, [SignedTree(id=WHOLE_LOG, size=size, checkpoint=f"of {size}", verifier_key="key")])

    assert log_tree.state_of(conn, WHOLE_LOG).checkpoint == "of 3"


def test_who_signs_waits_for_whoever_adds_leaves_so_that_neither_waits_in_a_circle(
    told_story: Story, conn: Connection, settings: Settings
):
    grow(conn)
    company = next(id_ for (id_,) in conn.execute("SELECT id FROM log_tree ORDER BY id DESC"))
    signed = [SignedTree(id=company, size=1, checkpoint="of 1", verifier_key="key")]
    conn.execute("SET lock_timeout = '10ms'")

    with bootstrap.connect(settings) as other, other.transaction():
        other.execute(log_tree.LOCKED, (WHOLE_LOG,))
        with pytest.raises(psycopg.errors.LockNotAvailable):
            log_tree.sign(conn, signed)

    log_tree.sign(conn, signed)
    assert log_tree.state_of(conn, company).signed_size == 1
