"""One process at a time works in a folder; the next one is told who does.

Two things keep others out. The operating system's lock of a file ends with its process,
however that ends, and reaches other machines where the file system has such locks. The
lease in that file, which its holder renews, reaches all that see the folder.
"""

import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple
from uuid import uuid4

from cgml.files import make_folder, require_file

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NAME = ".cgml-lock"
BEAT, STALE = 10.0, 60.0  # s, between renewals of a lease, until it has run out
_SETTLING = 0.2  # s, until a lease is ours where the file system has no locks
_LARGEST = 4096  # bytes
_TRIES = 20  # to make a folder
_BUSY = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


_HELD: set[int] = set()
"""Open files of this process; a child that was forked must not keep its locks."""


class InUseError(RuntimeError):
    """Another process works in the folder."""


class Lease(NamedTuple):
    """Who works in a folder.

    Attributes:
        host: name of the machine.
        pid: number of the process there.
        work: what it does.
        token: of this lease alone.
    """

    host: str
    pid: int
    work: str
    token: str


@contextmanager
def exclusive(folder: Path, work: str) -> Iterator[None]:
    """Keep other processes out of a folder, and threads that ask for it too.

    A lease that a process of this machine left when it was killed is taken over at
    once, that of another machine when it has run out.

    Args:
        folder: is made; if nothing is put there, it is removed again.
        work: what is done, for those who ask: "run", "train".

    Raises:
        InUseError: another process works there; one line says which.
    """
    is_new = not folder.exists()
    path = folder / NAME
    own = Lease(socket.gethostname(), os.getpid(), work, uuid4().hex)
    _let_go_after_fork()
    handle, is_locked = _take(path)
    _HELD.add(handle)
    done = Event()
    renewal = Thread(target=_renew, args=(handle, done), daemon=True)
    try:
        _check_lease(_read(path), path, own, is_locked=is_locked)
        os.truncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, json.dumps(own._asdict()).encode())
        if not is_locked:
            time.sleep(_SETTLING)
            _check_lease(_read(path), path, own, is_locked=False)
        renewal.start()
        try:
            yield
        finally:
            done.set()
            renewal.join()
            path.unlink(missing_ok=True)
    finally:
        _HELD.discard(handle)
        os.close(handle)
        if is_new:
            with suppress(OSError):  # something is in it
                folder.rmdir()


@cache
def _let_go_after_fork() -> None:
    if sys.platform != "win32":
        os.register_at_fork(after_in_child=_let_go)


def _let_go() -> None:
    for handle in _HELD:
        os.close(handle)
    _HELD.clear()


def _take(path: Path) -> tuple[int, bool]:
    """Open the file and lock it; say whether its file system can do so."""
    while True:
        _make(path.parent)
        try:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o644)
        except FileNotFoundError:  # the folder was removed just now
            continue
        except OSError as error:
            raise ValueError(
                f"{path.parent} cannot be written to ({error.strerror}): choose "
                "another folder"
            ) from error
        try:
            require_file(path)
            is_locked = _lock(handle, path)
            # else its holder removed it while this process came to lock it
            if not is_locked or os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle, is_locked
        except FileNotFoundError:
            pass
        except (InUseError, ValueError):
            os.close(handle)
            raise
        os.close(handle)


def _make(folder: Path) -> None:
    """Make a folder that others may remove meanwhile; see `make_folder`."""
    for _ in range(_TRIES):
        with suppress(FileExistsError, ValueError):
            make_folder(folder)
            return
    make_folder(folder)


def _lock(handle: int, path: Path) -> bool:
    """Lock an open file; False: its file system has no locks."""
    try:
        if sys.platform == "win32":
            os.lseek(handle, 1 << 20, os.SEEK_SET)  # what is locked cannot be read
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            raise _in_use(path, _read(path)) from error
        return False
    return True


def _check_lease(
    lease: Lease | None, path: Path, own: Lease, *, is_locked: bool
) -> None:
    """Refuse a lease that somebody may still hold."""
    if lease is None or lease == own:
        return
    if lease.host == own.host:
        if not is_locked and _is_alive(lease.pid):
            raise _in_use(path, lease)
    else:
        age = _age(path, own)
        if age < STALE:
            raise _in_use(path, lease, age)


def _in_use(path: Path, lease: Lease | None, age: float | None = None) -> InUseError:
    holder = "another process"
    if lease is not None:
        holder = f"process {lease.pid} on {lease.host} (cgml {lease.work})"
    advice = "wait for it to end, or choose another folder"
    if age is not None:
        advice = (
            f"it was there {age:.0f} s ago; if it was killed, try again in "
            f"{STALE - age:.0f} s, else {advice}"
        )
    return InUseError(f"{path.parent} is in use by {holder}: {advice}")


def _read(path: Path) -> Lease | None:
    """Lease in a file; None: there is none that can be read."""
    try:
        with path.open("rb") as stream:
            content = json.loads(stream.read(_LARGEST))
        lease = Lease(**content)
    except (OSError, ValueError, TypeError):
        return None
    texts = (lease.host, lease.work, lease.token)
    is_lease = type(lease.pid) is int and all(type(text) is str for text in texts)
    return lease if is_lease else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True


def _age(path: Path, own: Lease) -> float:
    """Time since a lease was renewed, s, by the clock of the file system."""
    probe = path.with_name(f"{NAME}-{own.token}")
    probe.touch()
    try:
        return probe.stat().st_mtime - path.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _renew(handle: int, done: Event) -> None:
    while not done.wait(BEAT):
        with suppress(OSError):  # closed meanwhile
            os.utime(handle)
