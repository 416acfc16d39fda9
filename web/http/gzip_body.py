"""Bodies that were compressed by gzip (RFC 1952). They are unpacked up to the size that they themselves announce."""

import zlib

NAMES = frozenset({"gzip", "x-gzip"})  # of the encoding
GZIP_HEADER = 16 + zlib.MAX_WBITS  # asks zlib for gzip's header and trailer, whose checksum and size it checks
MAGIC = b"\x1f\x8b"  # at the beginning
SIZE_BYTES = 4  # at the end


class Broken(Exception):
    """A body is not what gzip makes of one file."""

    def __init__(self) -> None:
        super().__init__("The body is not compressed by gzip as Content-Encoding says")


def announced_size(body: bytes) -> int:
    """Return how large the body says that it is when unpacked; 0 if it says nothing. `unpack` checks it."""
    return int.from_bytes(body[-SIZE_BYTES:], "little") if body.startswith(MAGIC) else 0


def unpack(body: bytes) -> bytes:
    """Return the body unpacked: exactly as large as announced. Raise Broken."""
    unpacker = zlib.decompressobj(GZIP_HEADER)
    try:
        unpacked = unpacker.decompress(body, announced_size(body) + 1)  # the last step, of no bytes, checks the trailer
    except zlib.error:
        raise Broken from None
    if not unpacker.eof or unpacker.unused_data:
        raise Broken
    return unpacked
