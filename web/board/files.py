"""The board's stylesheet and scripts, which come with the package and are kept by browsers for as long as they stay the same."""

import hashlib
from importlib import resources
from typing import NamedTuple

from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
KEPT = "public, max-age=31536000, immutable"


class StaticFile(NamedTuple):
    """A file, its media type, and a version that changes with its content."""

    content: bytes
    media_type: str
    version: str


def _load() -> dict[str, StaticFile]:
    files = {}
    for path in resources.files("web.board").joinpath("static").iterdir():
        media_type = next((kind for ending, kind in KINDS.items() if path.name.endswith(ending)), None)
        if media_type is not None:
            content = path.read_bytes()
            files[path.name] = StaticFile(content, media_type, hashlib.sha256(content).hexdigest()[:12])
    return files


FILES = _load()


def path_of(name: str) -> str:
    """Return the path of a file, which changes with its content."""
    return f"/board/static/{FILES[name].version}/{name}"


@get("/board/static/{version:str}/{name:str}", operation_id="boardFile", include_in_schema=False, sync_to_thread=False)
def static_file(name: FromPath[str], version: FromPath[str]) -> Response[bytes]:
    """Return a file of the board. Whoever asks for another version gets the present one, which is not to be kept."""
    if (file := FILES.get(name)) is None:
        raise NotFoundException
    headers = {"Cache-Control": KEPT if version == file.version else "no-cache"}
    return Response(file.content, media_type=file.media_type, headers=headers)
