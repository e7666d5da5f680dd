"""Files that are there whole or not at all, and pairs of them that fit at any moment.

Whoever looks at `node.pem` and `node.key`, at whatever moment and after whatever crash, finds a certificate
and its key. A rename changes one file. So a pair is changed by way of a symbolic link, as Kubernetes does:

1. A copy of the old pair, and the new one, are put into directories beside the files; the link `.pair` leads
   to the old.
2. Each of the two files becomes a link into `.pair`. What is read stays as it was.
3. `.pair` is renamed to lead to the new pair. That is the moment: one rename, for both.
4. Each file becomes the new one itself, and `.pair` and the directories go.

A program that opens one file before and the other after that moment has one of each, and finds that they do
not fit; a node that reloads just then says so and goes on with what it had.

After a crash the links still lead to one pair or the other; `exclusive` makes plain files of them. The
directory stays the same directory, so a container that has it mounted sees the new pair.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from wse_server.cli.errors import CliError, ExitCode

__all__ = ["PRIVATE", "PUBLIC", "create", "exclusive", "make_directory", "replace_together"]

PRIVATE = 0o600
"""Of keys."""
PUBLIC = 0o644
"""Of certificates."""

_LINK = ".pair"
_OLD = ".pair-old"
_NEW = ".pair-new"
_PART = ".part-"


@contextlib.contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Lets nobody else run `wse certs` on a directory, which is made if need be, and puts it in order.

    The lock ends with the process, however that ends.
    """
    make_directory(directory)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CliError(
                f"{directory}: another wse certs is at work there", hint="wait for it to end"
            ) from None
        for place in (directory, *(path for path in directory.iterdir() if path.is_dir())):
            if not place.name.startswith("."):
                _tidy(place)
        yield
    finally:
        os.close(descriptor)


def make_directory(directory: Path) -> None:
    """Makes a directory, and those above it, where there is none."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    _sync_directory(directory.parent)


def create(path: Path, content: bytes, mode: int) -> None:
    """Writes a file that must not be there yet: after a crash it is there whole, or not at all.

    Raises:
        CliError: It is there.
    """
    part = _write_part(path.parent, content, mode)
    try:
        # A rename would replace what somebody else has just put there; a link does not.
        _link_new(part, path)
    except FileExistsError:
        raise CliError(f"{path} is there already", hint="nothing was changed", code=ExitCode.USAGE) from None
    finally:
        part.unlink(missing_ok=True)
    _sync_directory(path.parent)


def replace_together(directory: Path, new: Mapping[str, bytes]) -> None:
    """Writes files anew, at one moment for all of them, each with its owner and mode.

    Args:
        directory: Where they are. All of them must be there.
        new: Name of each, with its content.
    """
    if len(new) < 2:
        for name, content in new.items():
            _replace(directory / name, content)
        return
    old = {name: (directory / name).read_bytes() for name in new}
    for place, files in ((directory / _OLD, old), (directory / _NEW, new)):
        place.mkdir(mode=0o700)
        for name, content in files.items():
            like = (directory / name).stat()
            _write(place / name, content, stat.S_IMODE(like.st_mode), like)
        _sync_directory(place)
        # Whoever may read the files now may pass through.
        there = directory.stat()
        _own(place, there)
        place.chmod(stat.S_IMODE(there.st_mode))
    _link(directory / _LINK, _OLD)
    for name in new:
        _link(directory / name, f"{_LINK}/{name}")
    _link(directory / _LINK, _NEW)
    _tidy(directory)


def _tidy(directory: Path) -> None:
    """Removes what a change that was cut short has left.

    A pair that was reached through links becomes plain files. Which pair it is stays as it is.
    """
    link = directory / _LINK
    for name in sorted(_linked(directory)):
        _replace(directory / name, (directory / name).read_bytes())
    parts = list(directory.glob(f"{_PART}*"))
    places = [place for place in (directory / _OLD, directory / _NEW) if place.exists()]
    is_clean = not (parts or places or link.is_symlink())
    link.unlink(missing_ok=True)
    for part in parts:
        part.unlink()
    for place in places:
        shutil.rmtree(place)
    if not is_clean:
        _sync_directory(directory)


def _link_new(part: Path, path: Path) -> None:
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:
        # Not every file system has hard links. Then it is the lock alone that keeps others away meanwhile.
        if path.exists():
            raise FileExistsError from None
        part.rename(path)


def _replace(path: Path, content: bytes) -> None:
    """Writes a file anew, with its owner and mode: after a crash it is the old one or the new one."""
    like = path.stat()
    _write_part(path.parent, content, stat.S_IMODE(like.st_mode), like).rename(path)
    _sync_directory(path.parent)


def _linked(directory: Path) -> Iterator[str]:
    for path in directory.iterdir():
        if path.is_symlink() and path.readlink().parts[0] == _LINK:
            yield path.name


def _link(path: Path, target: str) -> None:
    """Makes a symbolic link, in place of what is there."""
    part = path.parent / f"{_PART}{secrets.token_hex(8)}"
    try:
        part.symlink_to(target)
    except OSError as error:
        raise CliError(
            f"{path.parent}: a symbolic link can't be made here ({error.strerror}), and without one a key "
            "and its certificate can't change at one moment",
            hint="--keep-key renews the certificate alone, for which a rename is enough",
        ) from None
    part.rename(path)
    # Each step is on the disk before the next: a crash of the machine must not leave them in another order.
    _sync_directory(path.parent)


def _write_part(directory: Path, content: bytes, mode: int, like: os.stat_result | None = None) -> Path:
    """Writes a file under a name that nobody reads, to the disk."""
    part = directory / f"{_PART}{secrets.token_hex(8)}"
    try:
        _write(part, content, mode, like)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part


def _write(path: Path, content: bytes, mode: int, like: os.stat_result | None = None) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - it is a descriptor
        if like is not None:
            _own(path, like)
        # Before anything is in it: a key is never to be read by others, not for a moment.
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _own(path: Path, like: os.stat_result) -> None:
    """Gives a file the owner that another has: the user of a container goes on reading what it could read."""
    mine = path.stat()
    if (mine.st_uid, mine.st_gid) == (like.st_uid, like.st_gid):
        return
    try:
        os.chown(path, like.st_uid, like.st_gid)
    except PermissionError:
        raise CliError(
            f"{path.parent}: files belong to user {like.st_uid} and group {like.st_gid}, new ones would not",
            hint="run it as that user, or as root",
        ) from None


def _sync_directory(directory: Path) -> None:
    """Has the names in a directory on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems of networks do not know this for directories.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)
