"""RFC 6962: the root of a tree whose leaves come one after another, and the check of proofs."""

from collections.abc import Sequence
from hashlib import sha256

BLOCK_HEIGHT = 10
BLOCK = 1 << BLOCK_HEIGHT  # leaves that are hashed together, which is quicker than one by one


class GrowingTree:
    """A tree that grows; it keeps the roots of the perfect subtrees that it consists of."""

    def __init__(self) -> None:
        self.size = 0
        self._waiting: list[bytes] = []  # leaf hashes of the block that is not full yet
        self._roots: list[bytes] = []  # of perfect subtrees of blocks, the largest first
        self._blocks = 0

    def add(self, leaf_hashes: Sequence[bytes]) -> None:
        """Add leaves by their hashes."""
        self.size += len(leaf_hashes)
        waiting = self._waiting
        waiting += leaf_hashes
        while len(waiting) >= BLOCK:
            self._add_block(waiting[:BLOCK])
            del waiting[:BLOCK]

    def _add_block(self, hashes: list[bytes]) -> None:
        node = root_of_perfect(hashes)
        number = self._blocks
        self._blocks += 1
        while number & 1:
            node = sha256(b"\x01" + self._roots.pop() + node).digest()
            number >>= 1
        self._roots.append(node)

    def root(self) -> bytes:
        """Return the root of the leaves so far."""
        rest, roots = self._waiting, list(self._roots)
        while rest:
            width = 1 << (len(rest).bit_length() - 1)
            roots.append(root_of_perfect(rest[:width]))
            rest = rest[width:]
        if not roots:
            return sha256().digest()
        root = roots.pop()
        while roots:
            root = sha256(b"\x01" + roots.pop() + root).digest()
        return root


def root_of_perfect(hashes: Sequence[bytes]) -> bytes:
    """Return the root of leaves whose number is a power of two."""
    sha = sha256
    while len(hashes) > 1:
        hashes = [sha(b"\x01" + pair).digest() for pair in map(bytes.__add__, hashes[::2], hashes[1::2])]
    return hashes[0]


def hash_leaf(leaf: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\x00" + leaf).digest()


def root_by_proof(leaf_hash: bytes, place: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """Return the root that follows from an inclusion proof (RFC 9162, 2.1.3.2); None for a proof of another length."""
    if not 0 <= place < size:
        return None
    first, last, root = place, size - 1, leaf_hash
    for other in proof:
        if last == 0:
            return None
        if first & 1 or first == last:
            root = sha256(b"\x01" + other + root).digest()
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            root = sha256(b"\x01" + root + other).digest()
        first, last = first >> 1, last >> 1
    return root if last == 0 else None
