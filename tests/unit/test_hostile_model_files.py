"""Files that somebody changed or made up: one line each, and nothing is run."""

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from core_systems import idle_model, small_spec
from graphwm_files import MELT

from cgml.models.file import SPEC_FILE, load_model, save_model, script
from cgml.spec import BaseSpec

ROOT = Path(__file__).parents[2]
N_FLIPS, N_CUTS, N_SIZES, N_SWAPS, N_LOST = 60, 20, 20, 10, 15
SECONDS, MEMORY = 10, 1 << 30  # that reading a file may take, bytes
PROGRAM = "__torch__.cgml.network.program\nOwnProgram\n"

SPEC = small_spec(network={"n_embedding": 4, "n_node": 8, "n_edge": 8})

READ = """
import json, resource, signal, sys, time
from pathlib import Path
from cgml.models.file import ModelFileError, load_model

paths = Path(sys.argv[1]).read_text().split()
load_model(paths[0])  # what is imported late is
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]),) * 2)
for path in paths[1:]:
    signal.alarm(int(sys.argv[3]))
    start = time.perf_counter()
    try:
        load_model(path)
        print(json.dumps([path, "read", ""]), flush=True)
    except Exception as error:
        print(json.dumps([path, type(error).__name__, str(error)]), flush=True)
"""


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("good") / "good.pt"
    save_model(path, SPEC, idle_model(SPEC))
    return path


def content_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {item.filename: archive.read(item) for item in archive.infolist()}


def zipped(entries: Any, *, is_packed: bool = False) -> bytes:
    """Write name -> content, or pairs of them, as an archive without a fault."""
    stream, how = io.BytesIO(), zipfile.ZIP_DEFLATED if is_packed else 0
    with (
        warnings.catch_warnings(),
        zipfile.ZipFile(stream, "w", how, True, 1) as archive,
    ):
        warnings.simplefilter("ignore")  # of names that come twice
        for name, content in entries.items() if isinstance(entries, dict) else entries:
            archive.writestr(name, content)
    return stream.getvalue()


# --- what is done to a good file; each yields whole files


def bits(content: bytes, stream: np.random.Generator) -> Iterator[bytes]:
    for place in stream.integers(0, 8 * len(content), N_FLIPS):
        changed = bytearray(content)
        changed[place // 8] ^= 1 << (place % 8)
        yield bytes(changed)


def cuts(content: bytes, stream: np.random.Generator) -> Iterator[bytes]:
    yield from (content[:n] for n in stream.integers(0, len(content), N_CUTS))
    yield from (content + bytes(n) for n in (1, 22, 1000))
    yield b"#!/bin/sh\n" + content


def sizes(entries: dict[str, bytes], stream: np.random.Generator) -> Iterator[bytes]:
    names = [name for name in entries if "/data/" in name]
    for name in stream.choice(names, N_SIZES, replace=False):
        n = int(
            stream.choice([0, 1, 3, len(entries[name]) - 4, len(entries[name]) + 4])
        )
        n += n == len(entries[name])
        yield zipped(entries | {name: (entries[name] * 3 + bytes(8))[:n]})


def swaps(entries: dict[str, bytes], stream: np.random.Generator) -> Iterator[bytes]:
    names = [name for name in entries if "/data/" in name]
    done = 0
    while done < N_SWAPS:
        one, other = stream.choice(names, 2, replace=False)
        if len(entries[one]) != len(entries[other]):
            yield zipped(entries | {one: entries[other], other: entries[one]})
            done += 1


def twice_and_lost(
    entries: dict[str, bytes], stream: np.random.Generator
) -> Iterator[bytes]:
    names = [
        name
        for name in entries
        if "/data/" in name or name.endswith(("data.pkl", SPEC_FILE, "program.py"))
    ]
    for name in stream.choice(names, N_LOST, replace=False):
        yield zipped([*entries.items(), (name, entries[name])])
        yield zipped({key: value for key, value in entries.items() if key != name})


class Call:
    def __init__(self, what: Callable[..., Any], *arguments: Any) -> None:
        self.what, self.arguments = what, arguments

    def __reduce__(self) -> Any:
        return self.what, self.arguments


def pickles(trace: Path) -> Iterator[bytes]:
    """Yield contents for data.pkl."""
    for protocol in (0, 2, 4):
        yield pickle.dumps(Call(os.system, f"touch {trace}"), protocol)
        yield pickle.dumps(
            {"state": Call(eval, f"open({str(trace)!r}, 'w')")}, protocol
        )
    yield pickle.dumps(Call(torch.from_file, str(trace), True, 1 << 20), 2)
    yield pickle.dumps(Call(bytearray, 1 << 40), 2)
    yield b"\x80\x02" + b")" + b"\x85" * 2_000_000 + b"."  # nested tuples
    yield b"\x80\x02" + b"]" * 2_000_000 + b"a" * 1_999_999 + b"."
    yield b"\x80\x02\x8b" + struct.pack("<I", 1 << 20) + b"\x7f" * (1 << 20) + b"."
    yield b"\x80\x02\x8b" + struct.pack("<I", 1 << 30) + b"\x7f."
    yield b"\x80\x02X" + struct.pack("<I", (1 << 32) - 1) + b"a."
    yield b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"."
    yield b"\x80\x02]q\0" + b"(h\0h\0eh\0" * 1000 + b"."
    doubled = b"".join(b"(h%ch%ctq%c" % (i, i, i + 1) for i in range(60))
    yield b"\x80\x02)q\0" + doubled + b"."  # 2^60 leaves
    program = b"\x80\x02c" + PROGRAM.encode() + b")\x81q\0"
    yield program + b"}q\1X\1\0\0\0ah\0sb."  # it holds itself
    many = b"".join(b"X\2\0\0\0%02dh\0" % i for i in range(30))
    yield program + b"}q\1(" + many + b"ub."  # and thirty times so
    keys = b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(200_000))
    twice = b"X\1\0\0\0ah\0X\1\0\0\0bh\0"
    yield program + b"}q\1(" + keys + twice + b"ub."  # much to look at, in circles
    n = 100_000_000  # a character of 4 bytes makes all of them as wide
    wide = struct.pack("<I", n + 4) + b"a" * n + "\U0001f600".encode()
    yield b"\x80\x02X" + wide + b"."
    yield from (program + b".", program + b"}b.", program + b")b.")
    yield b"\x80\x02}."
    yield from (b"\x80\x02N.", b".", b"", bytes(1000))
    yield b"(" * 100_000
    yield b"\x80\x02\x82\x01."
    yield b"\x80\x02cbuiltins\ngetattr\n."
    yield b"\x80\x02cposix\nsystem\n."


def numbers(entries: dict[str, bytes]) -> Iterator[bytes]:
    names = [name for name in entries if "/data/" in name]
    for value in (np.nan, np.inf, -np.inf, 1e30, -3e38):
        for name in (names[0], names[len(names) // 2], names[-1]):
            weights = np.frombuffer(entries[name], np.float32).copy()
            weights[-1] = value
            yield zipped(entries | {name: weights.tobytes()})


def specs(text: str) -> Iterator[bytes]:
    """Yield contents for spec.json."""
    good = json.loads(text)
    sections = ("network", "refinement", "statistics", "prior")

    def section(name: str, **changes: Any) -> dict[str, Any]:
        return good | {name: good[name] | changes}

    kinds = ([], {}, None, 1, "other", "x" * 9999, "graphwm")
    changed = [good | {"kind": kind} for kind in kinds]
    changed += [good | {"format": value} for value in ("1", 2, 1.5, None, [], -(10**9))]
    optional = {"single_bead_limit", "remove_drift", "keep_hydrogens", "keep_groups"}
    needed = good.keys() - optional - {"seen", "radial_centres"}
    changed += [{k: v for k, v in good.items() if k != key} for key in sorted(needed)]
    changed += [good | {name: value} for name in sections for value in (None, [], 1)]
    changed += [
        section("network", **{name: value})
        for name in ("n_node", "n_edge", "n_predictor_layers", "n_refiner_layers")
        for value in (10**7, 20_000, -1, 0, 10**300, 1.5, "8", True)
    ]
    changed += [section("network", n_embedding_steps=200, n_vectors=2**30)]
    changed += [section("network", n_predictor_layers=256, n_refiner_layers=256)]
    changed += [section("refinement", n_levels=10**12)]
    changed += [
        section("refinement", sampler="langevin", n_levels=99_999, n_repeats=99_999)
    ]
    changed += [good | {"n_history": 10**9}, good | {"cutoff": -1}]
    absurd = {"time_step": 1e308, "temperature": 5e-324, "cutoff": 1e200}
    changed += [good | {name: value} for name, value in absurd.items()]
    wrong = ({"length_scale": 1e-300}, {"bond_length_range": [2.0, 1.0]})
    changed += [section("statistics", **value) for value in wrong]
    published = {name: good[name] for name in BaseSpec.model_fields if name in good}
    published |= {"kind": "graphwm", "n_embedding": 6, "length_unit": 0.1}
    for size in ({}, {"mp_steps": 64, "layers": 8}, {"mp_steps": 10**6}, {"units": -1}):
        networks = {key: MELT[key] | size for key in MELT if key.endswith("gn_hparams")}
        changed += [published | {"parameters": MELT | networks}]
    changed += [good | {"particle_types": dict.fromkeys(map(str, range(50_000)), 1)}]
    yield from (json.dumps(item).encode() for item in changed)
    yield json.dumps(section("statistics", length_scale=np.nan)).encode()
    yield from broken(text)


def broken(text: str) -> Iterator[bytes]:
    """Yield contents that are no JSON, or hardly."""
    yield text.replace('"time_step": 20.0', '"time_step": 1e999').encode()
    yield text.encode() + b" " * (1 << 20)
    yield b"[" * 500_000
    yield b'{"format":' * 100_000
    yield b'{"format": 1' + b"0" * 100_000 + b"}"
    yield text.encode("utf-16")
    yield b"\xff\xfe" + text.encode()
    yield b""
    yield b"null"


def archives(content: bytes, entries: dict[str, bytes]) -> Iterator[bytes]:
    """Yield archives that lie about themselves."""
    end = content.rindex(b"PK\5\6")
    for place, values in ((8, (0xFFFF,) * 2), (8, (0, 0)), (8, (1, 1))):
        changed = bytearray(content)
        struct.pack_into("<HH", changed, end + place, *values)
        yield bytes(changed)
    for place, value in ((12, 0xFFFFFFFF), (16, 0xFFFFFFFF), (12, 0), (16, 0)):
        changed = bytearray(content)
        struct.pack_into("<I", changed, end + place, value)
        yield bytes(changed)
    first = content.index(b"PK\1\2")
    for place in (20, 24, 42):  # sizes and place, as zip64 marks them
        changed = bytearray(content)
        struct.pack_into("<I", changed, first + place, 0xFFFFFFFF)
        yield bytes(changed)
    zip64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, *(1 << 62,) * 4)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    yield content[:end] + zip64 + locator + content[end:]
    names = list(entries)
    yield zipped({f"other/{i}/{name}": entries[name] for i, name in enumerate(names)})
    yield zipped({f"../{name}": content for name, content in entries.items()})
    yield zipped(entries | {"another/data.pkl": b"N."})
    spec = next(name for name in names if name.endswith(SPEC_FILE))
    bomb = zipped(entries | {spec: entries[spec] + b" " * (1 << 26)}, is_packed=True)
    yield bomb
    changed = bytearray(bomb)  # and one that does not own up to it
    struct.pack_into("<I", changed, bomb.index(b"PK\1\2") + 24, 10)
    yield bytes(changed)
    n = (1 << 28) - (1 << 20)  # as many bytes as there may be, all of them one tensor
    count = struct.pack("<I", n // 4)
    identity = (
        b"X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpuJ" + count
    )
    tensor = b"\x80\2ctorch._utils\n_rebuild_tensor_v2\n((" + identity + b"tQK\0J"
    tensor += count + b"\x85K\1\x85\x89}tR."
    data = {
        next(name for name in names if name.endswith("/data.pkl")): tensor,
        next(name for name in names if name.endswith("/data/0")): bytes(n),
    }
    yield zipped(entries | data, is_packed=True)


def crowds(folder: str) -> Iterator[bytes]:
    """Yield archives of very many entries."""
    empty = [(f"{folder}/{k}", b"") for k in range(30_000)]
    yield zipped([*empty, empty[-1]])


def other_networks() -> Iterator[bytes]:
    """Yield whole files whose weights are not those of their spec."""
    spec, sizes = SPEC, SPEC.network
    extra = {SPEC_FILE: spec.model_dump_json()}
    for change in ({"n_node": 9}, {"n_vectors": 4}, {"n_refiner_layers": 2}):
        other = spec.model_copy(update={"network": sizes.model_copy(update=change)})
        yield saved(script(other, idle_model(other)), extra)
    yield saved(torch.jit.script(idle_model(spec).double().radius_head), extra)


def saved(program: Any, extra: dict[str, str]) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(program, stream, _extra_files=extra)
    return stream.getvalue()


class Writes(torch.nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path, self.training = state
        torch.save(torch.ones(3), self.path)


class Maps(Writes):
    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path, self.training = state
        kept = torch.from_file(self.path, shared=True, size=1000).fill_(1.0)
        self.training = bool(kept.sum() > 0.0)  # else it is optimised away


class Loops(Writes):
    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path, self.training = state
        n = 0
        while n >= 0:
            n = 1 - n


class Allocates(Writes):
    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path, self.training = state
        torch.ones(10_000_000_000)


PROGRAMS = (Writes, Maps, Loops, Allocates)


def programs(trace: Path) -> Iterator[bytes]:
    """Yield files that do something when torch loads them."""
    extra = {SPEC_FILE: SPEC.model_dump_json()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for program in PROGRAMS:
            yield saved(torch.jit.script(program(str(trace))), extra)


def hostile(good: Path, trace: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name of each kind of change, and a file."""
    content, entries = good.read_bytes(), content_of(good)
    stream = np.random.default_rng(0)
    spec = next(name for name in entries if name.endswith(SPEC_FILE))
    data = next(name for name in entries if name.endswith("/data.pkl"))
    kinds: dict[str, Iterator[bytes]] = {
        "bit": bits(content, stream),
        "cut": cuts(content, stream),
        "size": sizes(entries, stream),
        "swap": swaps(entries, stream),
        "twice": twice_and_lost(entries, stream),
        "pickle": (zipped(entries | {data: new}) for new in pickles(trace)),
        "number": numbers(entries),
        "spec": (
            zipped(entries | {spec: new}) for new in specs(entries[spec].decode())
        ),
        "archive": archives(content, entries),
        "longer": iter([zipped(entries | {data: entries[data] + b"N."})]),
        "crowd": crowds(data.partition("/")[0]),
        "networks": other_networks(),
        "program": programs(trace),
    }
    for kind, files in kinds.items():
        yield from ((kind, file) for file in files)


def test_every_hostile_file_is_refused_in_one_line(good, tmp_path):
    """In a process with 1 GiB to spare, ten seconds for each."""
    trace, paths = tmp_path / "trace", [good]
    for number, (kind, content) in enumerate(hostile(good, trace)):
        paths.append(tmp_path / f"{kind}-{number}.pt")
        paths[-1].write_bytes(content)
    assert len(paths) > 300
    limits = [str(MEMORY), str(SECONDS)]
    (tmp_path / "list").write_text("\n".join(map(str, paths)))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READ, str(tmp_path / "list"), *limits],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (done.stderr, lines[-1:])
    assert [path for path, *_ in lines] == [str(path) for path in paths[1:]]
    for path, error, text in lines:
        assert error == "ModelFileError", (path, error, text)
        assert text.startswith(path), text
        assert "\n" not in text, text
        assert len(text) < len(path) + 500, text
    assert not trace.exists()


def test_the_programs_would_do_it(tmp_path):
    """The test above can fail: torch runs them."""
    for number, program in enumerate((Writes, Maps)):
        trace = tmp_path / f"trace{number}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            content = saved(torch.jit.script(program(str(trace))), {})
            torch.jit.load(io.BytesIO(content))
        assert trace.stat().st_size > 0


def test_a_program_beside_good_weights_is_not_run(good, tmp_path):
    """Nor looked at: the weights are what they were."""
    entries = content_of(good)
    for name in entries:
        if name.endswith("program.py"):
            entries[name] = b"class OwnProgram(Module):\n  while True: pass\n"
    path = tmp_path / "model.pt"
    path.write_bytes(zipped(entries))
    expected = load_model(good).module.state_dict()
    for name, values in load_model(path).module.state_dict().items():
        assert torch.equal(values, expected[name])


@pytest.mark.parametrize("kind", ["fifo", "folder", "device"])
def test_a_path_that_is_no_file(tmp_path, kind):
    path = Path("/dev/zero") if kind == "device" else tmp_path / "model.pt"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(ValueError, match=f"no model file at '{path}'"):
        load_model(path)
