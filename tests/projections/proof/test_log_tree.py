"""The trees of the log: they follow it, whatever its events are, and everything is proved from what is stored of them."""

from collections import defaultdict
from hashlib import sha256
from uuid import UUID

import metamorphic_log as foreign
import pytest

from application.audit import log_reader
from domain.proof.leaves import leaf_of
from domain.proof.merkle import Frontier, hash_leaf
from projections.engine.read_model import Connection
from projections.proof import log_tree
from projections.proof.log_tree import WHOLE_LOG
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
        recorded = _company(row.body)
        if recorded is not None:
            trees[recorded].append(leaf)
    return trees


def _company(body: bytes) -> UUID | None:
    import json  # noqa: PLC0415

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
        tree = log_tree.tree(conn, id_)
        for place, leaf in enumerate(own):
            size = len(own)
            foreign.verify_inclusion(place, size, hash_leaf(leaf), tree.prove_inclusion(place, size), root(own))


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
