"""Files are written beside their place and renamed: whole, or not at all."""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LARGEST_TEXT = 1 << 28
"""Bytes of a text file that is read."""

LONGEST_NAME = 200  # bytes; file systems take 255, with what is put before and behind

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LEAST_FREE = 1 << 16  # bytes; with less, an error without a reason has this one


def make_folder(path: Path | str) -> Path:
    """Make a folder to write to, if it is not there.

    Raises:
        ValueError: a file is in the way, or it cannot be written to.
    """
    path = Path(path)
    check_folder(path)
    path.mkdir(parents=True, exist_ok=True)
    return path


def check_folder(path: Path | str) -> None:
    """Refuse, before any work, a folder that cannot be made or written to.

    Raises:
        ValueError: a file is in the way, or permission is missing.
    """
    path = Path(path).absolute()
    there = next(item for item in (path, *path.parents) if item.exists())
    if not there.is_dir():
        raise ValueError(
            f"the output is a folder, {there} is a file: choose another name"
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{there} cannot be written to: choose another folder")


def check_file(path: Path | str) -> None:
    """Refuse, before any work, a file that cannot be written.

    Raises:
        ValueError: the path is a folder, a device or a pipe, its folder is not there,
            or permission is missing.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "a device or a pipe"
        raise ValueError(
            f"a file is to be written, {path} is {kind}: choose another name"
        )
    if not path.parent.is_dir():
        raise ValueError(
            f"there is no folder {path.parent} to write {path.name} to: make it first"
        )
    check_folder(path.parent)


def component(name: str, what: str) -> str:
    """Return a name that can be that of a file in a folder, and of none elsewhere.

    Args:
        name: as it stands in a file.
        what: has it, for the error text.

    Raises:
        ValueError: it is empty, too long, hidden, or would lead out of the folder.

    Example:
        >>> component("chain 1", "the system")
        'chain 1'
    """
    is_plain = name not in {"", ".", ".."} and not name.startswith(".")
    forbidden = "/\\:" if os.name == "nt" else "/\\"
    is_plain &= not any(letter in forbidden or ord(letter) < 32 for letter in name)
    n_bytes = len(name.encode("utf-8", "surrogateescape"))
    if not is_plain or n_bytes > LONGEST_NAME:
        shown = name if len(name) <= 60 else f"{name[:57]}..."
        raise ValueError(
            f"the name of {what} becomes the name of a file: a plain one of at most "
            f"{LONGEST_NAME} bytes, without / and \\ and no dot in front, is required, "
            f"got {shown!r}"
        )
    return name


def read_bytes(path: Path | str, largest: int) -> bytes:
    """Read a regular file; a folder, pipe or device is refused, not waited for.

    Args:
        path: of the file.
        largest: bytes that it may have.

    Raises:
        ValueError: it is something else, or larger.
    """
    modes = (getattr(os, name, 0) for name in ("O_NONBLOCK", "O_BINARY"))
    handle = os.open(path, os.O_RDONLY | sum(modes))
    try:
        status = os.fstat(handle)
        _require_regular(status.st_mode, path)
        if status.st_size > largest:
            raise ValueError(
                f"{path} must have at most {largest:,} bytes, got {status.st_size:,}"
            )
        with os.fdopen(handle, "rb", closefd=False) as stream:
            return stream.read(status.st_size)
    finally:
        os.close(handle)


def require_file(path: Path | str) -> None:
    """Refuse what is there and is no regular file: reading it might never end.

    Raises:
        ValueError: a folder, pipe, socket or device.
    """
    with suppress(FileNotFoundError):
        _require_regular(os.stat(path).st_mode, path)


def _require_regular(mode: int, path: Path | str) -> None:
    if not stat.S_ISREG(mode):
        kinds = {
            stat.S_IFDIR: "folder",
            stat.S_IFIFO: "pipe",
            stat.S_IFSOCK: "socket",
        }
        found = kinds.get(stat.S_IFMT(mode), "device")
        raise ValueError(f"{path} must be a regular file, it is a {found}")


def existing(path: Path | str) -> Path:
    """Return the path of a file that is there: a pipe would block for ever.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no regular file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    require_file(path)
    return path


def read_text(path: Path | str) -> str:
    """Read a text file in UTF-8, with or without a byte-order mark.

    Raises:
        ValueError: it has another encoding, is no regular file, or is too large.
    """
    content = read_bytes(path, LARGEST_TEXT)
    try:
        if b"\0" not in content:  # as in UTF-16 and UTF-32
            return content.decode("utf-8-sig").replace("\r\n", "\n")
        found = "UTF-16, UTF-32 or no text"
    except UnicodeDecodeError as error:
        found = f"byte {content[error.start]:#04x} at {error.start}"
    raise ValueError(f"text in UTF-8 is required, {path} has {found}: save it as UTF-8")


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Write a file beside its place; rename it when it is whole.

    The temporary file is hidden, lies in the same folder and has the same suffix
    (writers that choose the format by suffix, or append one, work). After a kill
    its remains are overwritten by the next attempt.

    Args:
        path: where the file shall be.

    Yields:
        The path to write to.

    Raises:
        ValueError: the path is a folder, or its folder is not there.
        OSError: the disk is full; the earlier file is untouched.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with replacing(folder / "a.txt") as temporary:
        ...     _ = temporary.write_text("whole")
        >>> (folder / "a.txt").read_text()
        'whole'
    """
    path = Path(path)
    check_file(path)
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    temporary.unlink(missing_ok=True)  # it might be a link to somewhere else
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        is_full = _is_full(error, temporary.parent)
        temporary.unlink(missing_ok=True)
        if is_full:
            raise OSError(
                errno.ENOSPC,
                f"no space left to write {path}: an earlier file of that name is "
                "untouched, free some space and run the same command again",
            ) from error
        raise


def _flush(path: Path) -> None:
    """Force the file to disk, so that the rename cannot come before its content."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def _is_full(error: BaseException, folder: Path) -> bool:
    """Tell a full disk, also where a library hides the number or says nothing."""
    if not folder.is_dir():
        return False
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return isinstance(error, OSError | RuntimeError) and (
        os.strerror(errno.ENOSPC) in str(error)
        or shutil.disk_usage(folder).free < _LEAST_FREE
    )
