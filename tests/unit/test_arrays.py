import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cgml.formats.arrays import read_reference
from cgml.molecules.recipe import Recipe


def write(path: Path, *, group: int, **changes: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(2, 6, 20, 3)).astype(np.float32)
    arrays = {
        "x": atoms.reshape(2, 6, 20 // group, group, 3).mean(axis=3),
        "types": rng.integers(4, size=(2, 20)).astype(np.int8),
        "rg2": rng.random((2, 6)).astype(np.float32),
        "x0": atoms[:, 0],
        "meta": np.array(json.dumps({"frame": 5.0, "group": group})),
    }
    arrays.update(changes)
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return arrays


def test_beads_as_stored(tmp_path: Path) -> None:
    arrays = write(tmp_path / "chain_devtest.npz", group=5)
    first, second = read_reference(tmp_path / "chain_devtest.npz")
    assert (first.name, second.name) == ("devtest_000", "devtest_001")
    assert (second.positions == arrays["x"][1]).all()
    assert second.times.tolist() == [0, 5, 10, 15, 20, 25]
    assert (second.observables["rg2"] == arrays["rg2"][1]).all()
    assert second.first_atoms is not None
    np.testing.assert_allclose(
        second.mapping.positions(second.first_atoms), second.positions[0], atol=1e-6
    )
    names = ["ABCD"[kind] for kind in arrays["types"][1]]
    assert list(second.mapping.graph.types) == names
    assert second.mapping.bead_index.tolist() == (np.arange(20) // 5).tolist()


@pytest.mark.parametrize("group", [4, 5])
def test_atoms_are_mapped(tmp_path: Path, group: int) -> None:
    arrays = write(tmp_path / "chain_train.npz", group=1)
    first, _ = read_reference(tmp_path / "chain_train.npz", recipe=Recipe(group))
    expected = arrays["x"][0].reshape(6, 20 // group, group, 3).mean(axis=2)
    np.testing.assert_allclose(first.positions, expected, atol=1e-6)
    assert first.positions.dtype == np.float32
    assert first.name == "train_000"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"meta": np.array('{"frame": 1.0, "group": 4}')}, "of 5 atoms .* beads of 4"),
        ({"meta": np.array('{"group": 5}')}, "meta of .* lacks 'frame'"),
        ({"meta": np.array("{")}, "cannot be read as reference data"),
        ({"types": np.full((2, 20), 4)}, "types 4 to 4, names are given for 4: A, B"),
        ({"rg2": None}, "it lacks rg2"),
        ({"x": np.zeros((2, 6, 5, 3), "f4")}, "bead count differs"),
        (
            {"rg2": np.array([[{}]], dtype=object)},
            "cannot be read .*holds pickled objects",
        ),
    ],
)
def test_wrong_files(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    write(tmp_path / "a.npz", group=5, **changes)
    with pytest.raises(ValueError, match=match):
        read_reference(tmp_path / "a.npz", recipe=Recipe())


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 no more"])
def test_foreign_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as reference data"):
        read_reference(tmp_path / "a.npz")


def test_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write(path, group=5)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot be read as reference data"):
        read_reference(path)


def test_single_array_and_no_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(ValueError, match="reference data: File is not a zip file"):
        read_reference(tmp_path / "a.npy")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_reference(tmp_path / "b.npz")
