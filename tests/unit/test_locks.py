import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from cgml import locks
from cgml.locks import NAME, InUseError, exclusive

HERE = socket.gethostname()


def lease(folder: Path, host: str, pid: int) -> Path:
    """Leave what a process leaves that was killed, or that works elsewhere."""
    content = {"host": host, "pid": pid, "work": "run", "token": "x"}
    (folder / NAME).write_text(json.dumps(content))
    return folder / NAME


def dead() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_second_is_told_who_holds_it(tmp_path):
    with exclusive(tmp_path / "a", "run"):
        message = rf"a is in use by process {os.getpid()} on {HERE} .cgml run.: wait"
        with pytest.raises(InUseError, match=message), exclusive(tmp_path / "a", "t"):
            pass
        with exclusive(tmp_path / "b", "run"):
            assert (tmp_path / "b" / NAME).exists()
    with exclusive(tmp_path / "a", "train"):
        pass


def test_nothing_is_left(tmp_path):
    with exclusive(tmp_path / "a", "run"):
        pass
    assert not (tmp_path / "a").exists()
    with exclusive(tmp_path / "b", "run"):
        (tmp_path / "b" / "file").touch()
    with pytest.raises(KeyError), exclusive(tmp_path / "b", "run"):
        raise KeyError
    assert os.listdir(tmp_path / "b") == ["file"]


@pytest.mark.parametrize("content", ["", "x", "[]", '{"pid": 1}', "killed"])
def test_what_a_kill_leaves_is_taken_over(tmp_path, content):
    if content == "killed":
        lease(tmp_path, HERE, dead())
    else:
        (tmp_path / NAME).write_text(content)
    with exclusive(tmp_path, "run"):
        assert json.loads((tmp_path / NAME).read_text())["pid"] == os.getpid()
    assert not (tmp_path / NAME).exists()


def test_another_machine_keeps_it_until_its_lease_has_run_out(tmp_path):
    """As on a shared file system whose locks end at the machine."""
    path = lease(tmp_path, "node7", 1)
    message = r"process 1 on node7 .* was there \d+ s ago; if it was killed, try again"
    with pytest.raises(InUseError, match=message), exclusive(tmp_path, "run"):
        pass
    assert path.exists()
    before = path.stat().st_mtime - locks.STALE - 1.0
    os.utime(path, (before, before))
    with exclusive(tmp_path, "run"):
        assert os.listdir(tmp_path) == [NAME]


def test_a_lease_is_renewed(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.01)
    with exclusive(tmp_path, "run"):
        os.utime(tmp_path / NAME, (0, 0))
        wait = threading.Event()
        for _ in range(500):
            if (tmp_path / NAME).stat().st_mtime > 0:
                break
            wait.wait(0.01)
        assert (tmp_path / NAME).stat().st_mtime > 0


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    """The lease alone keeps out who sees a living process in it."""

    def refuse(handle: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    lease(tmp_path, HERE, dead())
    with exclusive(tmp_path, "run"):
        pass
    lease(tmp_path, HERE, os.getppid())
    message = f"in use by process {os.getppid()}"
    with pytest.raises(InUseError, match=message), exclusive(tmp_path, "run"):
        pass


def test_one_of_many_threads(tmp_path):
    """They come at once, again and again: never two at a time, and none waits."""
    inside, most, refused, barrier = [0], [0], [0], threading.Barrier(8)
    guard = threading.Lock()

    def work() -> None:
        barrier.wait()
        for _ in range(50):
            with ExitStack() as stack:
                try:
                    stack.enter_context(exclusive(tmp_path / "x", "run"))
                except InUseError:
                    refused[0] += 1
                    continue
                with guard:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                with guard:
                    inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    assert most == [1]
    assert not (tmp_path / "x" / NAME).exists()


def test_a_link_is_not_followed(tmp_path):
    """Nothing outside the folder is written to."""
    (tmp_path / "target").write_text("mine")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / NAME).symlink_to(tmp_path / "target")
    with (
        pytest.raises(ValueError, match="cannot be written to"),
        exclusive(tmp_path / "a", "run"),
    ):
        pass
    assert (tmp_path / "target").read_text() == "mine"


def test_a_killed_holder_lets_go(tmp_path):
    """Also if it has forked, as for workers that prepare batches."""
    code = (
        "import os, sys, time; from pathlib import Path\n"
        "from cgml.locks import exclusive\n"
        "with exclusive(Path(sys.argv[1]), 'run'):\n"
        " if not os.fork(): print(1, flush=True)\n"  # the child has let go
        " time.sleep(5)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"1\n"
        message = f"process {process.pid} on"
        with pytest.raises(InUseError, match=message), exclusive(tmp_path, "run"):
            pass
        process.kill()
        process.wait()
        with exclusive(tmp_path, "run"):
            pass
