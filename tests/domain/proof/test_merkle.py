"""Trees of any size, beside a foreign verifier."""

import random

import metamorphic_log as foreign
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_verifier.merkle import GrowingTree, root_by_proof
from domain.proof.merkle import EMPTY_ROOT, Frontier, Tree, hash_leaf

SIZES = [1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 1_000, 65_536 + 300]


class Stored:
    """A tree as tables hold it: the hashes of each level of the tiles."""

    def __init__(self, size: int) -> None:
        self.levels: dict[int, list[bytes]] = {0: []}
        self.frontier = Frontier()
        self.roots = [EMPTY_ROOT]
        for number in range(size):
            digest = hash_leaf(b"%d" % number)
            self.levels[0].append(digest)
            for level, place, node in self.frontier.push(digest):
                assert len(self.levels.setdefault(level, [])) == place
                self.levels[level].append(node)
            if size < 2_000:
                self.roots.append(self.frontier.root)

    @property
    def tree(self) -> Tree:
        return Tree(lambda level, place, count: self.levels.get(level, [])[place : place + count])


@pytest.fixture(scope="module")
def stored_tree() -> Stored:
    return Stored(1_000)


@pytest.mark.parametrize("size", SIZES)
def test_a_stored_tree_has_the_root_of_the_one_that_grew(size: int):
    stored_tree = Stored(size)
    verifier = GrowingTree()
    verifier.add(stored_tree.levels[0])

    assert stored_tree.tree.root(size) == stored_tree.frontier.root == verifier.root()
    assert Frontier(size, bytes(stored_tree.frontier)).root == stored_tree.frontier.root


@given(st.data())
def test_every_leaf_is_proved_in_every_size(stored_tree: Stored, data: st.DataObject):
    size = data.draw(st.integers(1, 1_000))
    place = data.draw(st.integers(0, size - 1))

    proof = stored_tree.tree.prove_inclusion(place, size)

    foreign.verify_inclusion(place, size, stored_tree.levels[0][place], proof, stored_tree.roots[size])
    assert root_by_proof(stored_tree.levels[0][place], place, size, proof) == stored_tree.roots[size]


@given(st.data())
def test_every_size_is_proved_to_begin_every_larger_one(stored_tree: Stored, data: st.DataObject):
    size = data.draw(st.integers(1, 1_000))
    older = data.draw(st.integers(1, size))

    proof = stored_tree.tree.prove_consistency(older, size)

    foreign.verify_consistency(older, size, proof, stored_tree.roots[older], stored_tree.roots[size])


def test_an_altered_proof_proves_nothing(stored_tree: Stored):
    chance = random.Random(1)
    for _ in range(100):
        size = chance.randrange(2, 1_000)
        place = chance.randrange(size)
        proof = stored_tree.tree.prove_inclusion(place, size)
        number = chance.randrange(len(proof))
        altered = [*proof[:number], bytes(32), *proof[number + 1 :]]
        for bad in (altered, proof[:-1], [*proof, bytes(32)]):
            with pytest.raises(foreign.VerifyError):
                foreign.verify_inclusion(place, size, stored_tree.levels[0][place], bad, stored_tree.roots[size])
            assert root_by_proof(stored_tree.levels[0][place], place, size, bad) != stored_tree.roots[size]


def test_a_proof_of_what_is_not_there_is_refused(stored_tree: Stored):
    with pytest.raises(ValueError, match="has none at 1000"):
        stored_tree.tree.prove_inclusion(1_000, 1_000)
    with pytest.raises(ValueError, match="does not begin"):
        stored_tree.tree.prove_consistency(11, 10)
    with pytest.raises(LookupError):
        stored_tree.tree.root(1_001)
    with pytest.raises(ValueError, match="perfect subtrees"):
        Frontier(3, b"")
