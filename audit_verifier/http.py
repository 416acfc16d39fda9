"""Reads the log of a running service as tlog-tiles serves it: the checkpoint, and the leaves of all events."""

from collections.abc import Iterator
from http import HTTPStatus
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from audit_verifier.chain import Finding, Report, RootsAtSizes
from audit_verifier.merkle import hash_leaf
from audit_verifier.notes import Checkpoint, read_checkpoint
from audit_verifier.rows import Leaf, Unreadable, read_leaf

TILE = 256
TIMEOUT_S = 60
LEAST_SEGMENT, MOST_SEGMENT = 1_000, 3


class _NoRedirects(HTTPRedirectHandler):
    """Follows no redirect: the token is for the address that was named, and for no other."""

    def redirect_request(self, *_: object) -> None:
        return None


class NothingThere(Unreadable):
    """The service has nothing at an address."""


class Log:
    """The log at an address such as https://routines.example.org/api/log."""

    def __init__(self, address: str, token: str | None) -> None:
        if not address.startswith(("http://", "https://")):
            raise Unreadable(f"{address} is no address")
        self._address = address.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def checkpoint(self) -> Checkpoint:
        """Return the newest checkpoint that the service shows, whoever has signed it. Raises Unreadable and BadNote."""
        return read_checkpoint(self._get("checkpoint").decode(errors="replace"))

    def witnessed_checkpoint(self) -> Checkpoint | None:
        """Return the newest checkpoint that witnesses are said to have cosigned. Raises Unreadable and BadNote."""
        try:
            return read_checkpoint(self._get("checkpoint?witnessed=true").decode(errors="replace"))
        except NothingThere:
            return None

    def entries(self, size: int) -> Iterator[list[bytes]]:
        """Yield the leaves of the log, a bundle at a time, up to a size. Raises Unreadable."""
        for number in range(-(-size // TILE)):
            width = min(size - number * TILE, TILE)
            content = self._get(f"tile/entries/{_tile_path(number)}" + (f".p/{width}" if width < TILE else ""))
            entries = list(_split(content))
            if len(entries) != width:
                raise Unreadable(f"bundle {number} of the log has {len(entries)} entries instead of {width}")
            yield entries

    def _get(self, path: str) -> bytes:
        try:
            request = Request(f"{self._address}/{path}", headers=self._headers)  # noqa: S310 the scheme was looked at
            with build_opener(_NoRedirects).open(request, timeout=TIMEOUT_S) as answer:
                return bytes(answer.read())
        except HTTPError as error:
            kind = NothingThere if error.code == HTTPStatus.NOT_FOUND else Unreadable
            raise kind(
                f"{self._address}/{path} answers {error.code}: {error.read(300).decode(errors='replace')}"
            ) from None
        except (URLError, OSError) as error:
            raise Unreadable(f"{self._address} cannot be reached: {error}") from None


class TreeCheck:
    """The check of a log of which only the leaves are known: their positions and versions, and the roots of checkpoints."""

    def __init__(self, checkpoints: list[Checkpoint], *, whole: bool) -> None:
        self._roots = RootsAtSizes(checkpoints)
        self._is_whole = whole
        self._position = 0
        self._count = 0
        self._versions: dict[bytes, int] = {}
        self._findings: list[Finding] = []

    def add(self, entries: list[bytes]) -> None:
        """Check further leaves."""
        for entry in entries:
            self._check(read_leaf(entry))
        self._count += len(entries)
        self._roots.add([hash_leaf(entry) for entry in entries])

    def _check(self, leaf: Leaf) -> None:
        position, before = leaf.position, self._position
        if position <= before:
            self._findings.append(Finding("reordered", position, position, f"it stands after {before}"))
        elif self._is_whole and position != before + 1:
            self._findings.append(Finding("deleted", before + 1, position - 1, "no leaf stands for these events"))
        version = self._versions.get(leaf.stream.bytes, 0)
        if leaf.version != version + 1:
            detail = f"stream {leaf.stream} goes from version {version} to {leaf.version}"
            self._findings.append(
                Finding("deleted" if leaf.version > version else "inserted", position, position, detail)
            )
        self._versions[leaf.stream.bytes] = leaf.version
        self._position = max(position, before)

    def finish(self) -> Report:
        """Return the report."""
        findings = self._findings + list(self._roots.findings(self._count, whole=self._is_whole))
        return Report(self._count, b"", findings, is_complete=True)


def _tile_path(number: int) -> str:
    *larger, last = f"{number:,}".replace(",", " ").split() if number >= LEAST_SEGMENT else [str(number)]
    return "/".join([*(f"x{part.zfill(MOST_SEGMENT)}" for part in larger), last.zfill(MOST_SEGMENT)])


def _split(content: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(content):
        end = start + 2 + int.from_bytes(content[start : start + 2], "big")
        if end > len(content):
            raise Unreadable("a bundle of entries is cut off")
        yield content[start + 2 : end]
        start = end
