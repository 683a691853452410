"""Files are written beside their place and renamed: whole, or not at all."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT}
_LEAST_FREE = 1 << 16  # bytes; with less, an error without a reason has this one


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
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
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
