"""Parts that were damaged between interruption and resume: seen, and made again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cgml.formats.trajectory import read_beads, read_reference
from cgml.runs import simulation
from cgml.runs.plan import RunOptions
from cgml.runs.soundness import BEFORE, DIGEST, digest_of

OPTIONS = RunOptions(
    n_steps=12, n_part=2, stride=2, guard="record", n_replicas=2, file_format="h5md"
)
N_PATHS = 4


def interrupt(n_frames: int) -> None:
    if n_frames == 5 * N_PATHS:
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def systems(chains):
    return read_reference(chains)


@pytest.fixture(scope="module")
def whole(tiny_model, systems, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    simulation.run(tiny_model, systems, folder, OPTIONS)
    return folder


def broken_run(model, systems, folder: Path, **changes) -> Path:
    options = RunOptions(**{**vars(OPTIONS), **changes})
    with pytest.raises(KeyboardInterrupt):
        simulation.run(model, systems, folder, options, interrupt)
    return folder


@pytest.fixture(scope="module")
def broken(tiny_model, systems, tmp_path_factory) -> Path:
    return broken_run(tiny_model, systems, tmp_path_factory.mktemp("broken"))


@pytest.fixture(scope="module")
def other(tiny_model, systems, tmp_path_factory) -> Path:
    """The parts of a run with another seed."""
    folder = tmp_path_factory.mktemp("other")
    return broken_run(tiny_model, systems, folder, seed=1) / "parts/0000"


def rewrite(path: Path, change: Callable[[dict], object], *, seal: bool = True) -> None:
    with np.load(path) as file:
        arrays = dict(file)
    change(arrays)
    if seal and DIGEST in arrays:
        arrays[DIGEST] = np.array(digest_of(arrays))
    np.savez(path, **arrays)


def shorten(path: Path, *keys: str) -> None:
    rewrite(path, lambda arrays: arrays.update({k: arrays[k][:-1] for k in keys}))


def frames(arrays: dict) -> list[str]:
    return [key for key in arrays if key.startswith(("frames", "radii"))]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def turn(path: Path, key: str) -> None:
    """Change a number, and neither shape nor step."""
    rewrite(path, lambda a: a.update({key: a[key] + a[key].dtype.type(1)}), seal=False)


def exchange(one: Path, two: Path) -> None:
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)


DAMAGES: dict[str, tuple[int, Callable[[list[Path], Path], object]]] = {
    # frames that are kept, and what is done to the parts 0, 2, 4
    "first deleted": (0, lambda parts, _: parts[0].unlink()),
    "middle deleted": (2, lambda parts, _: parts[1].unlink()),
    "last deleted": (4, lambda parts, _: parts[2].unlink()),
    "all deleted": (0, lambda parts, _: [part.unlink() for part in parts]),
    "exchanged": (0, lambda parts, _: exchange(parts[0], parts[1])),
    "copied over": (2, lambda parts, _: shutil.copy(parts[0], parts[1])),
    "cut": (4, lambda parts, _: parts[2].write_bytes(parts[2].read_bytes()[:900])),
    "empty": (2, lambda parts, _: parts[1].write_bytes(b"")),
    "bit flipped": (2, lambda parts, _: flip(parts[1])),
    "frames shorter": (
        2,
        lambda parts, _: rewrite(
            parts[1], lambda a: a.update({key: a[key][:1] for key in frames(a)})
        ),
    ),
    "one path shorter": (2, lambda parts, _: shorten(parts[1], "frames_1")),
    "radii shorter": (4, lambda parts, _: shorten(parts[2], "radii")),
    "no state": (2, lambda parts, _: rewrite(parts[1], lambda a: a.pop("positions"))),
    "frames changed": (2, lambda parts, _: turn(parts[1], "frames_0")),
    "moves changed": (2, lambda parts, _: turn(parts[1], "displacements")),
    "steps changed": (2, lambda parts, _: turn(parts[1], "step")),
    "no counts of guards": (
        2,
        lambda parts, _: rewrite(
            parts[1], lambda a: a.update(guards=np.array("[1, 2, 3, 4]"))
        ),
    ),
    "other counts of guards": (
        2,
        lambda parts, _: rewrite(
            parts[1], lambda a: a.update(guards=np.array('[{"bond": -1}, {}, {}, {}]'))
        ),
    ),
    "history of no length": (
        2,
        lambda parts, _: rewrite(parts[1], lambda a: a.update(n_known=-a["n_known"])),
    ),
    "of another seed": (
        2,
        lambda parts, other: shutil.copy(other / parts[1].name, parts[1]),
    ),
    "all of another seed": (
        0,
        lambda parts, other: [shutil.copy(other / part.name, part) for part in parts],
    ),
    "not a number": (
        2,
        lambda parts, _: rewrite(
            parts[1], lambda a: a.update(positions=np.nan * a["positions"])
        ),
    ),
}


def results(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.suffix in {".csv", ".pdb"}
    } | {
        path.name: read_beads(path).positions.tobytes()
        for path in sorted(folder.glob("*.h5md"))
    }


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_parts_are_made_again(
    tiny_model, systems, whole, broken, other, tmp_path, caplog, damage
):
    folder = shutil.copytree(broken, tmp_path / "run")
    n_kept, do = DAMAGES[damage]
    do(sorted((folder / "parts/0000").glob("0*.npz")), other)
    seen: list[int] = []
    simulation.run(tiny_model, systems, folder, OPTIONS, seen.append)
    assert results(folder) == results(whole)
    assert n_kept * N_PATHS in seen
    if "deleted" not in damage or damage.startswith(("first", "middle")):
        (line,) = caplog.messages
        assert f"goes back to its frame {n_kept} and computes" in line
        assert line.startswith(str(folder))


def test_parts_of_the_last_release_go_on(
    tiny_model, systems, whole, broken, tmp_path, caplog
):
    folder = shutil.copytree(broken, tmp_path / "run")
    for path in (folder / "parts/0000").glob("0*.npz"):
        rewrite(path, lambda a: [a.pop(key) for key in (DIGEST, BEFORE)])
    seen: list[int] = []
    simulation.run(tiny_model, systems, folder, OPTIONS, seen.append)
    assert seen[0] == 5 * N_PATHS
    assert not caplog.messages
    assert results(folder) == results(whole)


def test_a_finished_run_misses_its_files(tiny_model, systems, whole, broken, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "run")
    lost = folder / "pair_001_r0.h5md"
    for change in (lambda: lost.write_bytes(lost.read_bytes()[:99]), lost.unlink):
        change()
        with pytest.raises(ValueError, match=r"is finished, but pair_001_r0\.h5md"):
            simulation.run(tiny_model, systems, folder, OPTIONS)
    shutil.copytree(broken / "parts", folder / "parts")
    simulation.run(tiny_model, systems, folder, OPTIONS)
    assert results(folder) == results(whole)
    lost.unlink()
    plan = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(plan | {"files": None}))
    with pytest.raises(ValueError, match=r"is finished, but pair_001_r0\.h5md"):
        simulation.run(tiny_model, systems, folder, OPTIONS)
