"""Arrays of .npz files: what numpy reads, and one line for anything else."""

import zipfile

import numpy as np
import pytest

from cgml.npz import read_arrays

ARRAYS = {
    "a": np.arange(6.0).reshape(2, 3),
    "b": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
    "c": np.array("text"),
    "d": np.zeros((0, 3)),
    "e": np.array(2.5),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_those_of_numpy(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS)
    found = read_arrays(tmp_path / "a.npz")
    assert list(found) == list(ARRAYS)
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == values.dtype
        assert found[name].flags.writeable
    assert list(read_arrays(tmp_path / "a.npz", {"b", "x"})) == ["b"]


def entry(head: str, content: bytes = b"") -> bytes:
    """Write an array with a header of one's own."""
    text = head.ljust(118).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def head(shape: str, kind: str = "<f8") -> str:
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (entry(head("(1000000000000,)"), bytes(8)), "has 8 bytes for"),
        (entry(head("(2,)"), bytes(24)), "has 24 bytes for"),
        (entry(head("(-1,)"), bytes(8)), "cannot be read"),
        (entry(head("(1,)", "|O"), bytes(8)), "holds pickled objects"),
        (entry("[" * 100), "cannot be read"),
        (entry("print(1)"), "cannot be read"),
        (b"", "cannot be read"),
        (bytes(1 << 27), "is packed too well to be data"),
    ],
)
def test_what_is_no_array(tmp_path, content, text):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(ValueError, match=r"a\.npz cannot be read as arrays: .*") as e:
        read_arrays(tmp_path / "a.npz")
    assert text in str(e.value)
    assert "\n" not in str(e.value)


def test_arrays_larger_than_memory(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", **ARRAYS)
    monkeypatch.setattr("cgml.memory._physical", lambda: 100)
    with pytest.raises(ValueError, match=r"a\.npz .* need about .* GiB of memory"):
        read_arrays(tmp_path / "a.npz")
