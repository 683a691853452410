from typing import Any

import numpy as np
import pytest

from cgml.molecules.box import wrap
from cgml.molecules.frames import (
    BeadTrajectory,
    Trajectory,
    coarsen,
    spacing,
)
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.whole import Unwrapper, whole_paths

BOX = np.array([[3.0, 0, 0], [1.4, 2.5, 0], [-1.3, 1.1, 2.0]])


def two_molecules() -> MolecularGraph:
    bonds = [[0, 2], [2, 4], [4, 6], [4, 7], [1, 3], [3, 5]]
    return MolecularGraph.create(["A"] * 8, np.arange(1, 9), bonds)


def walk(graph: MolecularGraph, n_frames: int) -> np.ndarray:
    """Molecules with bonds below 1 nm that wander through many boxes."""
    rng = np.random.default_rng(0)
    place = rng.uniform(-0.4, 0.4, size=(n_frames, graph.n_atoms, 3))
    for i, j in graph.bonds:
        place[:, j] += place[:, i]
    for atoms in graph.molecules:
        place[:, atoms] -= place[:, atoms].mean(axis=1, keepdims=True)
    drift = np.cumsum(rng.uniform(-0.1, 0.45, size=(n_frames, 2, 3)), axis=0)
    return np.asarray(place + drift[:, graph.molecule_index])


def chain(n: int) -> MolecularGraph:
    bonds = [[i, i + 1] for i in range(n - 1)]
    return MolecularGraph.create(["A"] * n, np.ones(n), bonds)


def test_unwrapped_frames_are_shifted_alike() -> None:
    graph = two_molecules()
    true = walk(graph, 60)
    shift = np.random.default_rng(1).integers(-3, 4, size=(8, 3)) @ BOX
    torn = (true + shift).astype(np.float32)
    paths = Unwrapper(graph, BOX, is_unwrapped=True)(torn)
    assert paths.dtype == np.float32
    for atoms in graph.molecules:
        expected = true[:, atoms] + shift[atoms[0]]
        np.testing.assert_allclose(paths[:, atoms], expected, atol=1e-5)
    assert (Unwrapper(graph, None, is_unwrapped=True)(torn) == torn).all()
    already = true.astype(np.float32)
    assert (Unwrapper(graph, BOX, is_unwrapped=True)(already) == already).all()


def test_whole_paths_undo_the_boundaries() -> None:
    graph = two_molecules()
    true = walk(graph, 60)
    assert abs(true[-1] - true[0]).min() > 4.0
    wrapped = wrap(true, BOX).astype(np.float32)
    paths = whole_paths(wrapped, graph, BOX)
    assert paths.dtype == np.float32
    for atoms in graph.molecules:
        shift = paths[0, atoms[0]] - true[0, atoms[0]]
        np.testing.assert_allclose(paths[:, atoms], true[:, atoms] + shift, atol=1e-5)
    np.testing.assert_array_equal(paths[0, :2], wrapped[0, :2])


def test_open_boundaries_change_nothing() -> None:
    positions = walk(two_molecules(), 3).astype(np.float32)
    assert whole_paths(positions, two_molecules(), None) is positions


def trajectory(**changes: Any) -> Trajectory:
    graph = chain(6)
    positions = np.random.default_rng(0).normal(size=(4, 6, 3)).astype(np.float32)
    values: dict[str, Any] = {
        "graph": graph,
        "positions": positions,
        "times": np.arange(4.0),
        "name": "x",
        "observables": {"energy": np.arange(4)},
    }
    return Trajectory(**{**values, **changes})


def test_coarsen_keeps_what_beads_do_not_tell() -> None:
    atoms = trajectory()
    mapping = Mapping.from_partition(atoms.graph, 2)
    beads = coarsen(atoms, mapping)
    assert (beads.positions == mapping.positions(atoms.positions)).all()
    assert beads.first_atoms is not None
    assert (beads.first_atoms == atoms.positions[0]).all()
    assert beads.observables["energy"].tolist() == [0, 1, 2, 3]
    assert (beads.name, beads.time_step) == ("x", 1.0)
    exact = atoms.positions.astype(float)
    expected = [
        ((frame - frame.mean(axis=0)) ** 2).sum(axis=1).mean() for frame in exact
    ]
    assert beads.observables["rg2"] == pytest.approx(expected, rel=1e-6)


def test_squared_radius_is_weighted_by_mass() -> None:
    graph = MolecularGraph.create("AB", [1.0, 3.0], [[0, 1]])
    positions = np.array([[[0, 0, 0], [2.0, 0, 0]]], dtype=np.float32)
    frames = Trajectory(graph, positions, np.zeros(1))
    beads = coarsen(frames, Mapping.from_partition(graph, 2))
    reduced_mass = 1.0 * 3.0 / 4.0**2
    assert beads.observables["rg2"].tolist() == pytest.approx([reduced_mass * 4.0])


def test_several_molecules_have_no_common_radius() -> None:
    graph = two_molecules()
    positions = walk(graph, 3).astype(np.float32)
    frames = Trajectory(graph, positions, np.arange(3.0), BOX)
    beads = coarsen(frames, Mapping.from_partition(graph, 2))
    assert beads.observables == {}
    assert beads.box is not None


def test_coarsen_refuses_another_mapping() -> None:
    with pytest.raises(ValueError, match=r"same atoms .* 7 atoms with 6 bonds for 6 "):
        coarsen(trajectory(), Mapping.from_partition(chain(7), 2))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"graph": chain(5)}, r"atom count differs: .*\(n_frames, 5, 3\).*\(4, 6, 3\)"),
        ({"times": np.arange(3.0)}, r"increasing times .* 4 frames, got shape \(3,\)"),
        ({"times": np.zeros(4)}, "increasing times are required"),
        ({"observables": {"e": np.zeros(3)}}, "'e' must have one value .* got 3"),
        ({"box": -BOX}, "reduced form"),
    ],
)
def test_wrong_trajectories(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        trajectory(**changes)


def test_wrong_bead_trajectories() -> None:
    mapping = Mapping.from_partition(chain(6), 2)
    frames = np.zeros((1, 3, 3), dtype=np.float32)
    with pytest.raises(ValueError, match="bead count differs"):
        BeadTrajectory(mapping, frames[:, :2], np.zeros(1))
    with pytest.raises(ValueError, match=r"first_atoms must have shape \(6, 3\), got"):
        BeadTrajectory(mapping, frames, np.zeros(1), first_atoms=frames[0])


@pytest.mark.parametrize("step", [0.002, 0.1, 1.0, 5.0, 2.5e3, 1 / 3])
def test_spacing_of_times_in_single_precision(step: float) -> None:
    times = (7.0 + np.arange(1000) * step).astype(np.float32).astype(np.float64)
    assert spacing(times, "x") == pytest.approx(step, rel=1e-6)
    if step != 1 / 3:
        assert spacing(times[:50], "x") == step


@pytest.mark.parametrize(
    ("times", "match"),
    [
        ([], "two frames or more .* x has 0"),
        ([1.0], "two frames or more .* x has 1"),
        ([0.0, 1.0, 2.0, 4.0], "evenly spaced .* x has spacings of 1 to 2 ps"),
        ([0.0, 1.0, 2.001], "evenly spaced"),
    ],
)
def test_no_spacing(times: list[float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        spacing(np.array(times), "x")
