"""
Merkle trees of RFC 6962, which grow leaf by leaf, and the proofs that follow from them.

A tree is stored as tlog-tiles has it: level 0 are the hashes of its leaves, and a hash of level n + 1 is that of 256
hashes of level n. Whoever has the tree reads those, and everything between them is computed.
"""

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
HASH_BYTES = 32
EMPTY_ROOT = sha256().digest()

# Returns hashes of a level of the tiles: those from a place on, as many as are asked for.
ReadHashes = Callable[[int, int, int], Sequence[bytes]]


def hash_leaf(leaf: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\x00" + leaf).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node above two others."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """
    The right edge of a tree that grows: the roots of the perfect subtrees that it consists of, the largest first.

    It is all that is needed to add leaves and to know the root.
    """

    def __init__(self, size: int = 0, hashes: bytes = b"") -> None:
        self.size = size
        self._roots = [hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)]
        if len(self._roots) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has another number of perfect subtrees")

    def push(self, leaf_hash: bytes) -> Iterator[tuple[int, int, bytes]]:
        """Add a leaf; yield what it completes above level 0 of the tiles: the level, the place there, the hash."""
        roots, size, node, height = self._roots, self.size, leaf_hash, 0
        self.size = size + 1
        while size >> height & 1:
            node = sha256(b"\x01" + roots.pop() + node).digest()
            height += 1
            if height % TILE_HEIGHT == 0:
                yield height // TILE_HEIGHT, size >> height, node
        roots.append(node)

    @property
    def root(self) -> bytes:
        """The root of the tree."""
        if not self._roots:
            return EMPTY_ROOT
        *larger, root = self._roots
        for left in reversed(larger):
            root = hash_node(left, root)
        return root

    def __bytes__(self) -> bytes:
        return b"".join(self._roots)


class Tree:
    """A stored tree, at any size that it has had. What is read once is kept, so a tree serves a question or two."""

    def __init__(self, read: ReadHashes) -> None:
        self._read = read
        self._tiles: dict[tuple[int, int], Sequence[bytes]] = {}

    def root(self, size: int) -> bytes:
        """Return the root that the tree has had at this size."""
        return self._root_of(0, size) if size else EMPTY_ROOT

    def prove_inclusion(self, place: int, size: int) -> list[bytes]:
        """Return the proof that the leaf at a place is in the tree of this size (RFC 6962, 2.1.1)."""
        if not 0 <= place < size:
            raise ValueError(f"a tree of {size} leaves has none at {place}")
        return self._inclusion_path(place, 0, size)

    def prove_consistency(self, old_size: int, size: int) -> list[bytes]:
        """Return the proof that the tree of this size begins with that of an older size (RFC 6962, 2.1.2)."""
        if not 0 <= old_size <= size:
            raise ValueError(f"a tree of {size} leaves does not begin with one of {old_size}")
        return self._consistency_path(old_size, 0, size, is_known=True) if 0 < old_size < size else []

    def _inclusion_path(self, place: int, start: int, end: int) -> list[bytes]:
        if end - start == 1:
            return []
        middle = start + _largest_power_below(end - start)
        if place < middle:
            return [*self._inclusion_path(place, start, middle), self._root_of(middle, end)]
        return [*self._inclusion_path(place, middle, end), self._root_of(start, middle)]

    def _consistency_path(self, old_size: int, start: int, end: int, *, is_known: bool) -> list[bytes]:
        if old_size == end:
            return [] if is_known else [self._root_of(start, end)]
        middle = start + _largest_power_below(end - start)
        if old_size <= middle:
            return [*self._consistency_path(old_size, start, middle, is_known=is_known), self._root_of(middle, end)]
        return [*self._consistency_path(old_size, middle, end, is_known=False), self._root_of(start, middle)]

    def _root_of(self, start: int, end: int) -> bytes:
        """Return the root of the leaves from `start` to `end`, where `start` is where such a subtree begins."""
        width = end - start
        if width & (width - 1) == 0:
            return self._perfect_root(width.bit_length() - 1, start)
        middle = start + _largest_power_below(width)
        return hash_node(self._root_of(start, middle), self._root_of(middle, end))

    def _perfect_root(self, height: int, start: int) -> bytes:
        """Return the root of the 2**height leaves from `start` on."""
        level, levels_above = divmod(height, TILE_HEIGHT)
        hashes = self._read_hashes(level, start >> (level * TILE_HEIGHT), 1 << levels_above)
        while len(hashes) > 1:
            hashes = [hash_node(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)]
        return hashes[0]

    def _read_hashes(self, level: int, place: int, count: int) -> Sequence[bytes]:
        """Return hashes that lie in one tile, of which all that are there are read at once."""
        number, first = divmod(place, TILE_WIDTH)
        if (level, number) not in self._tiles:
            self._tiles[level, number] = self._read(level, number * TILE_WIDTH, TILE_WIDTH)
        hashes = self._tiles[level, number][first : first + count]
        if len(hashes) < count:
            raise LookupError(f"the tree has no hash at level {level}, place {place + len(hashes)}")
        return hashes


def _largest_power_below(number: int) -> int:
    return 1 << ((number - 1).bit_length() - 1)
