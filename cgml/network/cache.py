"""The user's own cache of compiled networks: who may have written what lies there.

Each model has a folder with its parts and a label, written last, that says by what and
for what they were built. Machine code is loaded from nowhere else, and only if nobody
but the user could have put it there: folders and files are no links, belong to the
user, and others may not write to them, nor to the folders above.
"""

import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import platformdirs

LABEL = "built.json"
_LARGEST_LABEL = 1 << 16  # bytes
_BUILDING = ".building-"
_ABANDONED = 86_400.0  # s after which a folder that is being built is taken for left
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class _UnfitError(Exception):
    """A package must not be loaded, or not be kept there."""


def root() -> Path:
    """Return the folder of all compiled networks; what lies above it may be links."""
    above = Path(platformdirs.user_cache_path("cgml")).absolute()
    return above.parent.resolve() / above.name / "compiled"


def has_package(folder: Path) -> bool:
    """Tell whether something was built there, to be looked at with `objection`."""
    try:
        return os.path.lexists(folder / LABEL)
    except OSError:
        return True


def objection(folder: Path, names: Sequence[str], label: Mapping[str, str]) -> str:
    """Say why a package must not be loaded, "" where nothing speaks against it.

    Args:
        folder: of the package.
        names: of its parts.
        label: what it must have been built by and for.
    """
    try:
        _check_private(folder, [LABEL, *names])
        with (folder / LABEL).open("rb") as stream:
            found = json.loads(stream.read(_LARGEST_LABEL))
        for key, value in label.items():
            if found[key] != value:
                raise _UnfitError(f"built for another {key}: {str(found[key])[:200]}")
        for name in names:
            if found["files"][name] != digest(folder / name):
                raise _UnfitError(f"{name} is not the file that was built")
    except _UnfitError as error:
        return str(error)
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        return f"it is damaged or cannot be read ({str(error)[:200]!r})"
    return ""


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Build a package beside its place; it replaces an earlier one when it is whole.

    Args:
        folder: of the package.

    Yields:
        Folder to write the parts to, the label last.

    Raises:
        PermissionError: others could write to the cache.
    """
    above = folder.parent
    for place in (above.parent, above):
        if not os.path.lexists(place):
            place.mkdir(mode=0o700, parents=place == above.parent)
    try:
        _check_private(above, [])
    except _UnfitError as error:
        raise PermissionError(
            f"compiled networks are kept where nobody else can write, {error}: "
            f"correct that, or delete {above}"
        ) from error
    _sweep(above)
    temporary = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=above))  # 0700
    try:
        yield temporary
        old = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=above))
        if os.path.lexists(folder):
            folder.rename(old / folder.name)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def digest(path: Path) -> str:
    """Checksum (sha256) of a file that is no link."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(handle, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_private(folder: Path, names: Sequence[str]) -> None:
    """Refuse what others than the user could have written."""
    if sys.platform == "win32":
        return
    for place in (folder, *folder.parents, *(folder / name for name in names)):
        status = place.lstat()
        is_own, is_above = place.parent == folder, place in folder.parents
        if not (stat.S_ISREG if is_own else stat.S_ISDIR)(status.st_mode):
            raise _UnfitError(f"{place} is a link or of another kind")
        is_sticky = is_above and status.st_mode & stat.S_ISVTX  # as /tmp
        owners = {os.getuid(), 0} if is_above else {os.getuid()}
        if status.st_uid not in owners or (status.st_mode & _OTHERS and not is_sticky):
            raise _UnfitError(f"others than you own {place} or may write to it")


def _sweep(folder: Path) -> None:
    """Delete what compilations that were killed have left."""
    for place in folder.iterdir():
        is_left = place.name.startswith(_BUILDING)
        if is_left and time.time() - place.lstat().st_mtime > _ABANDONED:
            shutil.rmtree(place, ignore_errors=True)
