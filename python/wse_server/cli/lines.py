"""Lines of standard input as they come, in batches, with a bound for what waits."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator

from wse_server.cli.errors import CliError, ExitCode

__all__ = ["batches"]

_PIECE = 65536
_LONGEST_LINE = 16 << 20
_PIECES_AHEAD = 16


def batches(descriptor: int, *, most_lines: int, most_bytes: int) -> Iterator[list[bytes]]:
    """Yields lines without their ends: all that are there, as soon as there is one.

    So the lines of a log are handed on one by one as they are written, and those of a file many at a time.

    Args:
        descriptor: Where to read.
        most_lines: Lines of a batch.
        most_bytes: Bytes of a batch, which a single line may exceed.

    Raises:
        CliError: A line is longer than 16 MiB, or reading fails.
    """
    pieces: queue.Queue[list[bytes] | CliError | None] = queue.Queue(_PIECES_AHEAD)
    # A thread of its own, which may be left behind in `read` when the command ends: there is no other way to
    # wait for files and for pipes alike.
    threading.Thread(target=_read, args=(descriptor, pieces), name="stdin", daemon=True).start()
    batch: list[bytes] = []
    size = 0
    while True:
        try:
            piece = pieces.get(block=not batch)
        except queue.Empty:
            piece = []
            yield batch
            batch, size = [], 0
        if piece is None or isinstance(piece, CliError):
            if batch:
                yield batch
            if piece is not None:
                raise piece
            return
        for line in piece:
            if batch and (len(batch) == most_lines or size + len(line) > most_bytes):
                yield batch
                batch, size = [], 0
            batch.append(line)
            size += len(line)


def _read(descriptor: int, pieces: queue.Queue[list[bytes] | CliError | None]) -> None:
    rest = bytearray()
    try:
        # Not through `sys.stdin`: its lock would be held at exit, which Python calls fatal.
        while piece := os.read(descriptor, _PIECE):
            start = len(rest)
            rest += piece
            end = rest.rfind(b"\n", start)
            if end >= 0:
                lines = bytes(rest[:end]).split(b"\n")
                del rest[: end + 1]
                pieces.put([line.removesuffix(b"\r") for line in lines])
            if len(rest) > _LONGEST_LINE:
                pieces.put(CliError("a line is longer than 16 MiB", code=ExitCode.FAILED))
                return
    except OSError as error:
        pieces.put(CliError(f"standard input: {error.strerror}", code=ExitCode.FAILED))
        return
    if rest:
        pieces.put([bytes(rest).removesuffix(b"\r")])
    pieces.put(None)
