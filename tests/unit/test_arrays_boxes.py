import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cgml.formats.arrays import read_reference
from cgml.formats.trajectory import read_beads
from cgml.molecules.recipe import Recipe
from cgml.training.coarsening import Coarsening
from cgml.training.preparation import prepare, read_systems

N_CHAINS, SEQUENCE, IONS, EDGE = 3, "EXXEEXEEEX", "++--", 6.5


def write(path: Path, *, group: int, **changes: Any) -> np.ndarray:
    """Write a box of random places; return its beads of five monomers."""
    rng = np.random.default_rng(0)
    chains = rng.normal(size=(4, N_CHAINS, 2, 5, 3)).astype(np.float32)
    ions = rng.normal(size=(4, len(IONS), 3)).astype(np.float32)
    runs = chains.mean(axis=3).reshape(4, -1, 3)
    stored = chains.reshape(4, -1, 3) if group == 1 else runs
    n_stored = stored.shape[1] // N_CHAINS
    arrays = {
        "x": np.concatenate([stored, ions], axis=1),
        "kind": np.array(["P"] * stored.shape[1] + list(IONS)),
        "chain": np.append(np.repeat(np.arange(N_CHAINS), n_stored), [-1] * len(IONS)),
        "seq": np.array(SEQUENCE),
        "box": np.float64(EDGE),
        "rho": np.float64(0.7),
        "energy": np.zeros((2, 2)),
        "frac_e": np.zeros(stored.shape[1]),
        "meta": np.array(json.dumps({"frame": 2.0, "group": group})),
    }
    arrays.update(changes)
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return np.concatenate([runs, ions], axis=1)


def test_both_kinds_of_files_become_the_same_beads(tmp_path: Path) -> None:
    expected = write(tmp_path / "atoms.npz", group=1)
    write(tmp_path / "runs.npz", group=5)
    (atoms,), (runs,) = map(
        read_reference, (tmp_path / "atoms.npz", tmp_path / "runs.npz")
    )
    assert (atoms.name, runs.name) == ("atoms", "runs")
    assert atoms.mapping.hash() == runs.mapping.hash()
    assert "".join(atoms.mapping.graph.types) == SEQUENCE * N_CHAINS + IONS
    assert (atoms.mapping.graph.masses == 1.0).all()
    bead_index = [*np.repeat(np.arange(6), 5), 6, 7, 8, 9]
    assert atoms.mapping.bead_index.tolist() == bead_index
    assert atoms.mapping.bead_bonds.tolist() == [[0, 1], [2, 3], [4, 5]]
    for beads in (atoms, runs):
        assert beads.positions.dtype == np.float32
        np.testing.assert_allclose(beads.positions, expected, atol=1e-6)
        assert beads.times.tolist() == [0, 2, 4, 6]
        assert beads.box is not None
        assert beads.box.tolist() == (EDGE * np.eye(3)).tolist()
        assert beads.observables == {}
    assert runs.first_atoms is None
    assert atoms.first_atoms is not None
    np.testing.assert_allclose(
        atoms.mapping.positions(atoms.first_atoms), atoms.positions[0], atol=1e-6
    )


def test_atoms_may_become_other_beads(tmp_path: Path) -> None:
    write(tmp_path / "atoms.npz", group=1)
    (beads,) = read_systems([tmp_path / "atoms.npz"], None, Coarsening(Recipe(2.0)))
    assert beads.mapping.n_beads == 5 * N_CHAINS + len(IONS)


@pytest.mark.parametrize("group", [1, 5])
def test_prepared_boxes_keep_their_box(tmp_path: Path, group: int) -> None:
    expected = write(tmp_path / "box.npz", group=group)
    (path,) = prepare([tmp_path / "box.npz"], None, tmp_path / "beads", Coarsening())
    beads = read_beads(path)
    np.testing.assert_allclose(beads.positions, expected, atol=1e-6)
    np.testing.assert_array_equal(beads.box, EDGE * np.eye(3))
    assert set(beads.mapping.graph.types) == {"E", "X", "+", "-"}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"seq": np.array("EX")}, "3 chains of 2 atoms, .* are 7 .* holds 10, or in"),
        ({"chain": np.array([0, 1, 0, 1, 2, 2, *[-1] * 4])}, "in another order"),
        ({"chain": np.array([*[-1] * 4, 0, 0, 1, 1, 2, 2])}, "in another order"),
        ({"kind": np.array(["P"] * 7 + list("+--"))}, "or in another order"),
        ({"x": np.zeros((4, 9, 3), "f4")}, "bead count differs"),
        ({"box": EDGE * np.eye(3)}, r"edge of a cube .* has shape \(3, 3\)"),
        ({"box": None}, "it lacks box"),
        ({"meta": np.array('{"frame": 1.0, "group": 4}')}, "of 5 atoms .* beads of 4"),
    ],
)
def test_wrong_boxes(tmp_path: Path, changes: dict[str, Any], match: str) -> None:
    write(tmp_path / "a.npz", group=5, **changes)
    with pytest.raises(ValueError, match=match):
        read_reference(tmp_path / "a.npz", recipe=Recipe())
