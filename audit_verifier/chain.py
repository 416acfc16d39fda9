"""
Checks the rows of a log one after the other: positions, the chain of hashes, versions of streams, roots of checkpoints.

What is wrong is named by its position and its kind. The chain finds whatever was changed without computing all later
hashes anew. Whoever computes them anew is found by a checkpoint that was signed before, and then the position is only known
to lie between two checkpoints (or by a version that a stream lacks).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from struct import Struct
from typing import Final, NamedTuple
from uuid import UUID

from audit_verifier.merkle import GrowingTree
from audit_verifier.notes import Checkpoint
from audit_verifier.rows import LENGTH, Columns, Row, company_of, leaf_of

# Up to so many deleted or inserted rows at one place are counted; beyond that, rows are only reported not to fit.
SHIFTS = 16
LOOKED_BACK = SHIFTS + 2
MOST_COMPARED = 64  # rows that do not fit, which are compared with each other to find those that changed places
MOST_FINDINGS = 1_000
BEFORE_ALL = Row(0, b"", 0, b"", None, b"", 0, None, b"")  # stands for the row before the first one
BODY: Final = 4  # places of these among the columns of a row
LOGIN: Final = 7
VERSION_BITS = 40
VERSION = (1 << VERSION_BITS) - 1


class Finding(NamedTuple):
    """What is wrong, and where: from one position to another, if it is not known more exactly."""

    kind: str  # changed, inserted, deleted, reordered, lost tail, rewritten head, rewritten, bad signature
    first: int
    last: int
    detail: str


class Head(NamedTuple):
    """Where a log says that it ends."""

    position: int
    hash: bytes


class Report(NamedTuple):
    """What has been verified, and what was found."""

    events: int
    hash: bytes  # of the last row
    findings: list[Finding]
    is_complete: bool  # whether there were no more findings than these


class _ChainBreak(NamedTuple):
    """A row that does not follow from the row before it."""

    row: Row
    previous: bytes


class _Packs(dict[int, Callable[..., bytes]]):
    """Makes the beginning of a leaf in one go, by the length of the name in it."""

    def __missing__(self, length: int) -> Callable[..., bytes]:
        self[length] = Struct(f">q16sqi{length}s32sq").pack
        return self[length]


class _Endings(dict[bytes | None, bytes]):
    """The ends of leaves, by the login that they name."""

    def __missing__(self, login: bytes | None) -> bytes:
        self[login] = b"" if login is None else LENGTH.pack(len(login)) + login
        return self[login]


class LogCheck:
    """The check of one log. Rows are added in their order; `finish` says what was found."""

    def __init__(self, checkpoints: Iterable[Checkpoint] = ()) -> None:
        self._findings: list[Finding] = []
        self._misfits: list[_ChainBreak] = []
        self._expected = 1  # the position of the next row
        self._shift = 0  # by how much positions were lowered since rows before them are gone
        self._hash = b""  # of the row before, as stored
        # Other hashes that the row before may have had before it was changed.
        self._other_hashes: tuple[bytes, ...] = ()
        self._recent: deque[Columns] = deque([BEFORE_ALL], maxlen=LOOKED_BACK)
        self._packs, self._endings = _Packs(), _Endings()
        self._missing: dict[int, int] = {}  # positions that were passed over, and the finding that says so
        self._versions: dict[
            bytes, int
        ] = {}  # of each stream, the position of its last row, and below that the version
        self._has_logins = False
        self._trees = _Trees(checkpoints)
        self._rows = 0

    def add(self, rows: Sequence[Columns]) -> None:
        """Check further rows. What is usual is checked here without a call, since there may be very many rows."""
        sha, versions, recent, endings = sha256, self._versions, self._recent, self._endings
        packs = self._packs
        expected, previous, is_usual = self._expected, self._hash, not self._is_disturbed
        leaves: list[bytes] = []
        for row in rows:
            position, stream, version, name, _, digest, recorded_us, login, stored = row
            leaf = packs[len(name)](position, stream, version, len(name), name, digest, recorded_us) + endings[login]
            is_chained = sha(previous + leaf).digest() == stored
            if is_chained and position == expected and is_usual and login is not None:
                expected, previous = position + 1, stored
                recent.append(row)
            else:
                self._expected, self._hash = expected, previous
                takes_its_place = self._judge_row(Row._make(row), leaf)
                expected, previous, is_usual = self._expected, self._hash, not self._is_disturbed
                if not takes_its_place:
                    continue
            before = versions.get(stream, 0)
            if version != (before & VERSION) + 1:
                self._judge_version(Row._make(row), before & VERSION, before >> VERSION_BITS)
            versions[stream] = position << VERSION_BITS | version
            leaves.append(leaf)
        self._expected, self._hash = expected, previous
        self._rows += len(rows)
        self._has_logins = self._has_logins or (bool(rows) and rows[-1][LOGIN] is not None)
        self._trees.add(rows, [sha(b"\x00" + leaf).digest() for leaf in leaves])

    def finish(self, head: Head | None) -> Report:
        """Return the report; `head` is where the log itself says that it ends."""
        self._find_exchanged()
        last = self._expected - 1
        if head is not None and head.position > last:
            self._add_finding("lost tail", last + 1, head.position, "the log says that it ends later")
        elif head is not None and (head.position, head.hash) != (last, self._hash):
            self._add_finding(
                "rewritten head", head.position, head.position, f"the last row is at {last}, or has another hash"
            )
        self._findings += self._trees.findings(last)
        findings = sorted(self._findings, key=lambda finding: (finding.first, finding.last))
        return Report(self._rows, self._hash, findings[:MOST_FINDINGS], len(findings) <= MOST_FINDINGS)

    @property
    def _is_disturbed(self) -> bool:
        return bool(self._shift or self._other_hashes)

    @property
    def _rows_before(self) -> list[Row]:
        """The latest rows, the last one first."""
        return [Row._make(columns) for columns in reversed(self._recent)]

    def _add_finding(self, kind: str, first: int, last: int, detail: str) -> int:
        self._findings.append(Finding(kind, first, last, detail))
        return len(self._findings) - 1

    def _judge_row(self, row: Row, leaf: bytes) -> bool:
        """Judge a row that does not simply follow; return whether it takes its place in the log."""
        position = row.position
        if position < self._expected:
            return self._judge_early(row, leaf)
        if position > self._expected:
            gap = self._add_finding("deleted", self._expected, position - 1, "rows are gone")
            if position - self._expected <= MOST_FINDINGS:
                self._missing |= dict.fromkeys(range(self._expected, position), gap)
            self._accept_row(row)
            return True
        if row.login is None and self._has_logins:
            self._add_finding("changed", position, position, "it does not say who recorded it, as rows before it do")
        candidates = (self._hash, *self._other_hashes)
        shifted_leaf = leaf_of(row, position + self._shift) if self._shift else leaf
        if any(sha256(previous + shifted_leaf).digest() == row.hash for previous in candidates):
            self._accept_row(row)
            return True
        if (misfit := self._misfits[-1] if self._misfits else None) and misfit.row.position == position - 1:
            for shift in range(1, SHIFTS + 1):
                total = self._shift + shift
                if sha256(self._hash + leaf_of(row, position + total)).digest() == row.hash:
                    if self._is_back_in_order(total):
                        self._shift = total
                        self._accept_row(row)
                        return True
                    self._rename_last(
                        "deleted", misfit.row.position, misfit.row.position, f"{shift} row(s) before it are gone"
                    )
                    self._shift = total
                    self._accept_row(row)
                    return True
        for shift, before in enumerate(self._rows_before[1:], 1):
            if sha256(before.hash + leaf_of(row, position + self._shift - shift)).digest() == row.hash and sum(
                misfit.row.position >= position - shift for misfit in self._misfits
            ) in {0, shift}:
                self._drop_misfits(position - shift)
                self._add_finding(
                    "inserted", position - shift, position - 1, f"{shift} row(s) were put in before {position}"
                )
                self._shift -= shift
                self._accept_row(row)
                return True
        self._note_misfit(row, leaf)
        return True

    def _judge_early(self, row: Row, leaf: bytes) -> bool:
        position = row.position
        if position in self._missing:
            gap = self._missing.pop(position)
            self._findings[gap] = Finding("reordered", position, position, f"it stands after {self._expected - 1}")
            return False
        previous = next((before.hash for before in self._rows_before if before.position == position - 1), b"")
        misfit = self._misfits[-1] if self._misfits else None
        if misfit and misfit.row.position == position and sha256(previous + leaf).digest() == row.hash:
            self._rename_last("inserted", position, position, "it stands there twice, and the other one fits")
            self._hash, self._other_hashes = row.hash, ()
            return False
        self._add_finding("inserted", position, position, "a row of this position was there before")
        return False

    def _note_misfit(self, row: Row, leaf: bytes) -> None:
        first = max(row.position - 1, 1)
        self._add_finding(
            "changed", first, row.position, "this row, or the one before with its hash, is not as it was recorded"
        )
        self._misfits.append(_ChainBreak(row, self._hash))
        computed_hash = sha256(self._hash + leaf).digest()
        self._accept_row(row)
        self._other_hashes = (computed_hash,)

    def _is_back_in_order(self, shift: int) -> bool:
        """Return whether rows that seemed to be put in, and then to be missing, have only exchanged their places."""
        inserted = self._findings[-2] if len(self._findings) > 1 else None
        if shift or inserted is None or inserted.kind != "inserted":
            return False
        self._rename_last("reordered", inserted.first, inserted.last + 1, "these rows have exchanged their places")
        self._findings.remove(inserted)
        return True

    def _accept_row(self, row: Row) -> None:
        self._hash, self._other_hashes = row.hash, ()
        self._expected = row.position + 1
        self._recent.append(row)
        self._has_logins = self._has_logins or row.login is not None

    def _rename_last(self, kind: str, first: int, last: int, detail: str) -> None:
        place = max(place for place, finding in enumerate(self._findings) if finding.kind == "changed")
        self._findings[place] = Finding(kind, first, last, detail)
        self._misfits.pop()

    def _drop_misfits(self, start: int) -> None:
        """Forget rows that did not fit from a position on: another finding explains them."""
        self._misfits = [misfit for misfit in self._misfits if misfit.row.position < start]
        self._findings = [one for one in self._findings if one.kind != "changed" or one.last < start]

    def _judge_version(self, row: Row, version: int, place: int) -> None:
        stream, last = UUID(bytes=row.stream), row.position
        if any(one.first - 1 <= last and one.last >= place for one in self._findings):
            return  # the gap between these two rows is reported already
        if row.version > version + 1:
            self._add_finding("deleted", place + 1, last, f"version {version + 1} of stream {stream} is gone")
        else:
            self._add_finding(
                "inserted", last, last, f"stream {stream} has a version {row.version} after its {version}"
            )

    def _find_exchanged(self) -> None:
        """Rename rows that have exchanged their places, and drop what then follows from the others."""
        misfits = self._misfits[:MOST_COMPARED]
        shift_by_position: dict[int, int] = {}
        for misfit in misfits:
            for other in misfits:
                at_others = sha256(other.previous + leaf_of(misfit.row, other.row.position)).digest()
                if misfit is not other and at_others == misfit.row.hash:
                    shift_by_position[misfit.row.position] = other.row.position
        if not shift_by_position:
            return
        hashes = {place: misfit.row.hash for misfit in misfits if (place := shift_by_position.get(misfit.row.position))}
        explained_positions = {
            misfit.row.position
            for misfit in misfits
            if (previous := hashes.get(misfit.row.position - 1))
            and sha256(previous + leaf_of(misfit.row)).digest() == misfit.row.hash
        }
        findings = []
        for finding in self._findings:
            if finding.kind == "changed" and finding.last in shift_by_position:
                findings.append(
                    Finding(
                        "reordered", finding.last, finding.last, f"it was recorded at {shift_by_position[finding.last]}"
                    )
                )
            elif finding.kind != "changed" or finding.last not in explained_positions:
                findings.append(finding)
        self._findings = findings


class _Trees:
    """Compares the roots of checkpoints with those of the rows. A tree is built for each origin that has a checkpoint."""

    def __init__(self, checkpoints: Iterable[Checkpoint]) -> None:
        by_company: dict[UUID | None, list[Checkpoint]] = {}
        for checkpoint in checkpoints:
            by_company.setdefault(checkpoint.company, []).append(checkpoint)
        self._trees = {company: RootsAtSizes(some) for company, some in by_company.items()}
        self._has_companies = any(company is not None for company in self._trees)

    def add(self, rows: Sequence[Columns], leaf_hashes: Sequence[bytes]) -> None:
        if (whole_log := self._trees.get(None)) is not None:
            whole_log.add(leaf_hashes)
        if self._has_companies and len(rows) == len(leaf_hashes):
            parts: dict[UUID, list[bytes]] = {}
            for row, digest in zip(rows, leaf_hashes, strict=True):
                if (company := company_of(row[BODY])) in self._trees and company is not None:
                    parts.setdefault(company, []).append(digest)
            for company, part in parts.items():
                self._trees[company].add(part)

    def findings(self, last: int) -> Iterator[Finding]:
        for company, tree in self._trees.items():
            yield from tree.findings(last, whole=company is None)


class RootsAtSizes:
    """A growing tree, whose root is compared with each checkpoint as soon as it has its size."""

    def __init__(self, checkpoints: Iterable[Checkpoint]) -> None:
        self._waiting = sorted(checkpoints, key=lambda checkpoint: checkpoint.size, reverse=True)
        self._tree = GrowingTree()
        self._good = 0  # the largest size whose checkpoint was right
        self._findings: list[Finding] = []
        self._compare()

    def add(self, leaf_hashes: Sequence[bytes]) -> None:
        """Add leaves by their hashes."""
        start = 0
        while self._waiting and (count := self._waiting[-1].size - self._tree.size) <= len(leaf_hashes) - start:
            self._tree.add(leaf_hashes[start : start + count])
            start += count
            self._compare()
        if self._waiting:  # the rows after the last checkpoint are covered by no signature
            self._tree.add(leaf_hashes[start:])

    def _compare(self) -> None:
        root = self._tree.root() if self._waiting and self._waiting[-1].size == self._tree.size else b""
        while self._waiting and self._waiting[-1].size == self._tree.size:
            checkpoint = self._waiting.pop()
            if checkpoint.root == root:
                self._good = checkpoint.size
            elif not self._findings:
                detail = (
                    f"these events are not those of the checkpoint of {checkpoint.size} events of {checkpoint.origin}"
                )
                self._findings.append(Finding("rewritten", self._good + 1, checkpoint.size, detail))

    def findings(self, last: int, *, whole: bool) -> Iterator[Finding]:
        """Yield what was found. In the log of a company, places of its own events take the place of positions."""
        yield from self._findings
        end = last if whole else self._tree.size
        for checkpoint in self._waiting[-1:]:
            extent = f"only the first {self._good} of those that are there are proved"
            detail = f"{checkpoint.size} events of {checkpoint.origin} are signed, {end} are there; {extent}"
            yield Finding("lost tail", min(self._good, end) + 1, checkpoint.size, detail)
