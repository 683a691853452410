"""The cache of compiled networks: built whole, kept private, cleaned."""

import os
import time

import pytest

from cgml.network import cache


def build(folder, text="new", *, fails=False):
    with cache.building(folder) as place:
        assert place.stat().st_mode & 0o777 == 0o700
        (place / "a.pt2").write_text(text)
        if fails:
            raise KeyboardInterrupt
        (place / cache.LABEL).write_text("{}")


def test_a_package_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "cgml" / "compiled" / "abc"
    build(folder, "old")
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    with pytest.raises(KeyboardInterrupt):
        build(folder, fails=True)
    assert (folder / "a.pt2").read_text() == "old"
    build(folder)
    assert (folder / "a.pt2").read_text() == "new"
    assert [item.name for item in folder.parent.iterdir()] == ["abc"]


def test_remains_of_a_killed_compilation_are_deleted(tmp_path):
    above = tmp_path / "compiled"
    for name in (".building-old", ".building-now"):
        (above / name).mkdir(parents=True)
        (above / name / "a.pt2").write_text("half")
    yesterday = time.time() - 2 * 86_400
    os.utime(above / ".building-old", (yesterday, yesterday))
    build(above / "abc")
    assert {item.name for item in above.iterdir()} == {".building-now", "abc"}


def test_nothing_is_built_where_others_may_write(tmp_path):
    (tmp_path / "compiled").mkdir()
    (tmp_path / "compiled").chmod(0o777)
    with pytest.raises(PermissionError, match="may write to it: correct that, or del"):
        build(tmp_path / "compiled" / "abc")
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="is a link"):
        build(tmp_path / "link" / "abc")
    assert not list((tmp_path / "elsewhere").iterdir())
