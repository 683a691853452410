import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from cgml.files import (
    check_file,
    check_folder,
    component,
    make_folder,
    read_bytes,
    read_text,
    replacing,
    require_file,
)


def test_appears_whole_and_leaves_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "a.npz"
    with replacing(target) as temporary:
        np.savez(temporary, x=np.arange(3))
        assert temporary.parent == tmp_path
        assert not target.exists()
    assert np.load(target)["x"].tolist() == [0, 1, 2]
    assert os.listdir(tmp_path) == ["a.npz"]


def _write_half(target: Path, error: type[BaseException]) -> None:
    with replacing(target) as temporary:
        temporary.write_text("half")
        raise error


def _write_to_full_disk(target: Path) -> None:
    with replacing(target) as temporary:
        temporary.write_text("half")
        Path("/dev/full").write_text("x")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_earlier_file_survives_an_error(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error):
        _write_half(target, error)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_remains_of_a_kill_are_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with pytest.raises(ValueError), replacing(target) as temporary:  # noqa: PT011
        raise ValueError
    temporary.write_text("left by a kill, and long")
    with replacing(target) as again:
        again.write_text("new")
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(OSError, match=r"no space left to write .*a\.txt.*untouched"):
        _write_to_full_disk(target)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EDQUOT, "quota"),
        OSError(errno.EFBIG, "file too large"),
        OSError("Can't write data (errno = 28, 'No space left on device')"),
        RuntimeError("write failed: No space left on device"),
    ],
)
def test_full_disk_as_libraries_say_it(tmp_path: Path, error: Exception) -> None:
    with (
        pytest.raises(OSError, match="no space left to write") as info,
        replacing(tmp_path / "a"),
    ):
        raise error
    assert info.value.errno == errno.ENOSPC


def test_full_disk_where_a_library_gives_no_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with (
        pytest.raises(OSError, match="no space left to write"),
        replacing(tmp_path / "a"),
    ):
        raise RuntimeError("write error 7")


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^other$"), replacing(tmp_path / "a"):
        raise RuntimeError("other")


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a"):
        pass


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_text_with_and_without_a_mark(tmp_path, encoding):
    path = tmp_path / "a.toml"
    path.write_text('name = "Å"\n', encoding=encoding)
    assert read_text(path) == 'name = "Å"\n'


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_text_in_another_encoding(tmp_path, encoding):
    path = tmp_path / "a.toml"
    path.write_text('name = "Å"\n', encoding=encoding)
    with pytest.raises(ValueError, match=r"text in UTF-8 is required, .*a\.toml has"):
        read_text(path)


def test_folders_and_files_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    assert make_folder(tmp_path / "a" / "b").is_dir()
    for name in ("file", "file/below", "file/far/below"):
        with pytest.raises(ValueError, match=r"is a folder, .*/file is a file"):
            make_folder(tmp_path / name)
    with (
        pytest.raises(ValueError, match=r"to be written, .*/a is a folder"),
        replacing(tmp_path / "a"),
    ):
        pass
    with (
        pytest.raises(ValueError, match=r"there is no folder .*/none to write x.json"),
        replacing(tmp_path / "none" / "x.json"),
    ):
        pass


@pytest.mark.parametrize("name", ["chain 1", "Å", "a.b", "a..b", "-x", "~", "x" * 200])
def test_a_name_of_a_file(name):
    assert component(name, "a system") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "/abs/x",
        "a/b",
        "a\\b",
        ".x",
        "a\x00b",
        "a\nb",
        "x" * 201,
        "å" * 101,
    ],
)
def test_a_name_that_leads_elsewhere(name):
    with pytest.raises(ValueError, match="the name of a system becomes the name of"):
        component(name, "a system")


def test_a_link_in_the_way_is_not_followed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / ".a.part.txt").symlink_to(tmp_path / "mine")
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "a.txt").read_text() == "new"


def test_outputs_are_checked_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    check_folder(tmp_path / "a" / "b")
    check_file(tmp_path / "new.json")
    check_file(tmp_path / "file")
    assert os.listdir(tmp_path) == ["file"]
    with pytest.raises(ValueError, match=r"is a folder, \S+/file is a file: choose"):
        check_folder(tmp_path / "file" / "below")
    with pytest.raises(ValueError, match=r"a file is to be written, .* is a folder"):
        check_file(tmp_path)
    with pytest.raises(ValueError, match=r"there is no folder \S+/a to write x to"):
        check_file(tmp_path / "a" / "x")


def test_places_that_cannot_be_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(ValueError, match=f"{tmp_path} cannot be written to: choose"):
        check_folder(tmp_path / "a")
    with pytest.raises(ValueError, match=f"{tmp_path} cannot be written to: choose"):
        check_file(tmp_path / "a")


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, kind in (("pipe", "pipe"), ("folder", "folder")):
        with pytest.raises(ValueError, match=f"{name} must be a regular .* a {kind}"):
            read_text(tmp_path / name)
        with pytest.raises(ValueError, match=f"{name} must be a regular .* a {kind}"):
            require_file(tmp_path / name)
    with pytest.raises(ValueError, match="null must be a regular file, it is a device"):
        read_text("/dev/null")
    (tmp_path / "large").write_bytes(b"12345")
    with pytest.raises(ValueError, match="large must have at most 4 bytes, got 5"):
        read_bytes(tmp_path / "large", 4)


def test_devices_and_pipes_are_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = "is a device or a pipe: choose another name"
    with pytest.raises(ValueError, match=text), replacing(pipe):
        pass
    assert pipe.is_fifo()
    with pytest.raises(ValueError, match=text):
        check_file("/dev/null")
