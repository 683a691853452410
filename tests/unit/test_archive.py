"""Archives of torch: every bit counts, everything is bounded, nothing runs."""

import io
import os
import pickle
import random
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from cgml.archive import MAX_ENTRIES, ArchiveError, read_archive
from cgml.unpickling import MAX_OPERATIONS, Record, load_pickle

PERMITTED = {"fractions.Fraction", "copyreg._reconstructor"}


def load(path: Path) -> Any:
    return load_pickle(path, read_archive(path), permits=PERMITTED.__contains__)


def saved(folder: Path, content: Any) -> Path:
    torch.save(content, folder / "a.pt")
    return folder / "a.pt"


def packed(path: Path, *entries: tuple[str, bytes], method: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def pickled(folder: Path, stream: bytes, *entries: tuple[str, bytes]) -> Path:
    return packed(folder / "a.pt", ("a/data.pkl", stream), *entries)


def changed(entry: bytes, old: bytes, new: bytes) -> bytes:
    assert entry.count(old) >= 1
    return entry.replace(old, new, 1)


def content() -> dict[str, Any]:
    wide = torch.arange(24.0).reshape(4, 6)
    return {
        "wide": wide,
        "view": wide.t()[1:3],
        "one": torch.tensor(2.5, dtype=torch.float64),
        "none": torch.zeros(0, 3),
        "flags": torch.tensor([True, False, True]),
        "counts": torch.arange(5),
        "coarse": torch.tensor([1.5, -2.0]).bfloat16(),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "size": torch.Size([2, 3]),
        "texts": ["a", "ü", b"\x00\xff"][:2],
        "numbers": (1, -(2**40), 0.25, None, True),
        "ordered": OrderedDict([("b", 1), ("a", {3: 4})]),
    }


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, torch.Tensor):
        return torch.equal(found, expected) and found.dtype == expected.dtype
    return bool(found == expected)


def test_what_torch_saves_is_read(tmp_path):
    expected = content()
    found = load(saved(tmp_path, expected))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert same(found[name], value), name
    assert not found["parameter"].requires_grad
    assert list(found["ordered"]) == ["b", "a"]


def test_what_torchscript_saves_is_read(tmp_path):
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    torch.jit.save(torch.jit.script(module), str(tmp_path / "a.pt"))
    entries = read_archive(tmp_path / "a.pt")
    found = load_pickle(
        "a.pt", entries, permits=lambda name: name.startswith("__torch__.")
    )
    layer = found.state["0"]
    assert torch.equal(layer.state["weight"], module[0].weight)
    assert found.name.startswith("__torch__.torch.nn.modules.container.")
    stem = {"permits": lambda _: False, "stem": "constants"}
    assert load_pickle("a.pt", entries, **stem) == ()


def test_permitted_classes_become_records(tmp_path):
    from fractions import Fraction

    found = load(saved(tmp_path, {"part": Fraction(1, 3), "kind": Fraction}))
    assert isinstance(found["part"], Record)
    assert (found["part"].name, found["part"].arguments) == (
        "fractions.Fraction",
        (1, 3) if found["part"].arguments[0] == 1 else ("1/3",),
    )
    assert repr(found["kind"]) == "<fractions.Fraction>"


def test_sixty_mutants_are_all_refused(tmp_path):
    """Bits flipped, bytes cut out, put in, exchanged; a third near the directory."""
    whole = saved(tmp_path, content()).read_bytes()
    draw, path = random.Random(11), tmp_path / "b.pt"
    for number in range(60):
        mutant = bytearray(whole)
        first = len(whole) - 1500 if number % 3 == 0 else 0
        at = draw.randrange(first, len(whole))
        if number % 10 == 7:
            del mutant[at : at + draw.randrange(1, 100)]
        elif number % 10 == 8:
            mutant[at:at] = draw.randbytes(draw.randrange(1, 100))
        elif number % 10 == 9:
            mutant[at : at + 4] = bytes(mutant[at : at + 4])[::-1] + b"!"
        else:
            mutant[at] ^= 1 << draw.randrange(8)
        path.write_bytes(mutant)
        with pytest.raises(ArchiveError) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path} ")
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this platform")
def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ArchiveError, match=f"{path} must be a regular file"):
            read_archive(path)
    with pytest.raises(FileNotFoundError):
        read_archive(tmp_path / "absent")


def test_sizes_are_bounded_before_anything_is_read(tmp_path):
    huge = tmp_path / "huge.pt"
    with huge.open("wb") as stream:
        stream.truncate(1 << 40)  # holes: nothing on the disk
    with pytest.raises(ArchiveError, match=r"at most 536,870,912 bytes, got 1,099,51"):
        read_archive(huge)
    bomb = packed(tmp_path / "bomb.pt", ("a/x", bytes(1 << 24)), method=8)
    assert bomb.stat().st_size < 1 << 16
    with pytest.raises(ArchiveError, match="unpack to at most 1,000,000 bytes, decl"):
        read_archive(bomb, largest=1_000_000)
    lying = bomb.read_bytes().replace(struct.pack("<L", 1 << 24), struct.pack("<L", 9))
    bomb.write_bytes(lying)
    tracemalloc.start()
    with pytest.raises(ArchiveError, match=r"checksum of entry 'a/x' is another"):
        read_archive(bomb)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    many = tmp_path / "many.pt"
    many.write_bytes(b"PK\x01\x02" * (MAX_ENTRIES + 1))
    with pytest.raises(ArchiveError, match="at most 32,768 entries"):
        read_archive(many)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_torch_does_not_write(tmp_path):
    path = tmp_path / "a.pt"
    rows = {
        "holds the entry 'a/x' twice": [("a/x", b"1"), ("a/y", b""), ("a/x", b"2")],
        "one folder must hold it all": [("a/x", b"1"), ("b/y", b"")],
    }
    for text, entries in rows.items():
        with pytest.raises(ArchiveError, match=text):
            read_archive(packed(path, *entries))
    for text, stream in {
        "truncated or not an archive of torch": b"no zip",
        "truncated or": b"",
    }.items():
        path.write_bytes(stream)
        with pytest.raises(ArchiveError, match=text):
            read_archive(path)
    packed(path, ("a/x", b"some text" * 9), method=zipfile.ZIP_BZIP2)
    with pytest.raises(ArchiveError, match="'a/x' encrypted or packed"):
        read_archive(path)
    hidden = packed(path, ("a/x", b"1")).read_bytes()
    path.write_bytes(b"#!/bin/sh\n" + hidden)
    with pytest.raises(ArchiveError, match="'a/x' is not where its directory says"):
        read_archive(path)


def test_classes_are_named_and_refused(tmp_path):
    path = saved(tmp_path, {"a": io.StringIO})
    with pytest.raises(ArchiveError, match=r"names _io\.StringIO,.*nothing was run"):
        load(path)
    calls = b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R."
    with pytest.raises(ArchiveError, match=r"it names posix\.system"):
        load(pickled(tmp_path, calls))
    hidden = b"\x80\x04\x8c\x05posix\x8c\x06system\x93)R."
    with pytest.raises(ArchiveError, match=r"it names posix\.system"):
        load(pickled(tmp_path, hidden))


def test_pickles_that_would_fill_or_crash(tmp_path):
    """Deep nesting, long programs, great numbers, far places in the memory."""
    n = MAX_OPERATIONS - 10
    for deep in (
        b"\x80\x02N" + b"\x85" * n + b".",
        b"\x80\x02]" + b"]" * (n // 2) + b"a" * (n // 2) + b".",
        b"\x80\x02cfractions\nFraction\nq\x00"
        + b"h\x00" * (n // 3 - 1)
        + b"N"
        + b"\x85R" * (n // 3)
        + b".",
    ):
        assert type(load(pickled(tmp_path, deep))) in (tuple, list, Record)
    rows = {
        "at most 524,288 operations": b"\x80\x02" + b"N" * (n + 20) + b".",
        "more than 64 bits": pickle.dumps(10**400, protocol=2),
        "pickle has the operation LONG4": pickle.dumps(1 << 10_000, protocol=2),
        "pickle has the operation EMPTY_SET": pickle.dumps({1}, protocol=4),
        "sets items of dict, or by other keys": pickle.dumps(
            {(1, (2,)): 3}, protocol=2
        ),
        "lacks values": b"\x80\x02(N\x86.",
        "damaged: not enough values|damaged: too many values": b"\x80\x02NN.",
        "damaged: list index out of range": b"\x80\x02q\x00.",
        "damaged: 7": b"\x80\x02h\x07.",
        "appends to tuple": b"\x80\x02)Na.",
        "calls NoneType": b"\x80\x02N)R.",
        "gives a state to list": b"\x80\x02]}b.",
        "damaged: pickle exhausted": b"\x80\x02N",
    }
    for text, stream in rows.items():
        with pytest.raises(ArchiveError, match=text):
            load(pickled(tmp_path, stream))
    far = b"\x80\x02Nr\xff\xff\xff\x7f."  # a place in the memory at 2^31
    assert load(pickled(tmp_path, far)) is None


def tensor(folder: Path, *arguments: Any, count: int = 6, size: int = 24) -> Path:
    """An archive of one tensor, whose rebuilding is given these arguments."""

    class Storage:
        pass

    class Tensor:
        def __reduce__(self) -> Any:
            hooks = OrderedDict()
            return torch._utils._rebuild_tensor_v2, (
                *(Storage(), *arguments, False, hooks),
            )

    class Writer(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            if not isinstance(value, Storage):
                return None
            return "storage", torch.FloatStorage, "0", "cpu", count

    stream = io.BytesIO()
    Writer(stream, protocol=2).dump(Tensor())
    return pickled(folder, stream.getvalue(), ("a/data/0", bytes(size)))


def test_tensors_lie_within_their_storages(tmp_path):
    assert load(tensor(tmp_path, 0, (2, 3), (3, 1))).shape == (2, 3)
    assert load(tensor(tmp_path, 5, (1, 1), (7, 7))).shape == (1, 1)
    rows: dict[str, Path | tuple[Any, ...]] = {
        r"shape \(2, 4\) in a storage of 6": (0, (2, 4), (4, 1)),
        r"shape \(2, 3\) in": (1, (2, 3), (3, 1)),
        r"shape \(1000000000,\) in": (0, (10**9,), (0,)),
        "shape or strides cannot be": (0, (-1,), (1,)),
        "or strides cannot be": (0, (2,), (1, 1)),
        "strides cannot be": (0, (2,), (-1,)),
        "cannot be": (0, (True,), (1,)),
        "a tensor whose shape": (0, (1,) * 9, (1,) * 9),
        "holds a tensor whose": (0, [2], [1]),
    }
    for text, arguments in rows.items():
        with pytest.raises(ArchiveError, match=text):
            load(tensor(tmp_path, *arguments))
    with pytest.raises(ArchiveError, match="'0' must have 6 numbers of 4 bytes, got 0"):
        load(tensor(tmp_path, 0, (2,), (1,), size=0))
    with pytest.raises(ArchiveError, match=r"must have 1000000000000 numbers .*got 24"):
        load(tensor(tmp_path, 0, (2,), (1,), count=10**12))
    many = saved(tmp_path, list(torch.ones(1000).expand(5, 1000)))
    with pytest.raises(ArchiveError, match="more in its tensors than in their stor"):
        load(many)


def test_storages_that_are_not_there(tmp_path):
    whole = read_archive(saved(tmp_path, {"a": torch.ones(3), "b": torch.ones(2)}))
    lacking = {name: entry for name, entry in whole.items() if name != "data/1"}
    with pytest.raises(ArchiveError, match=r"has no storage '1' of type torch\.FloatS"):
        load_pickle("a.pt", lacking, permits=PERMITTED.__contains__)
    turned = whole | {"byteorder": memoryview(b"big")}
    with pytest.raises(ArchiveError, match="little-endian"):
        load_pickle("a.pt", turned, permits=PERMITTED.__contains__)
    with pytest.raises(ArchiveError, match=r"a\.pt is not .*there is no data\.pkl"):
        load_pickle("a.pt", {}, permits=PERMITTED.__contains__)
