from itertools import product
from typing import Any

import numpy as np
import pytest

from cgml.molecules.box import (
    check_box,
    images,
    minimum_image,
    reduce,
    widths,
    wrap,
)
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.whole import whole_paths

CUBE = np.diag([3.0, 3.0, 3.0])
BRICK = np.diag([2.0, 3.0, 5.0])
SKEW = np.array([[3.0, 0, 0], [1.4, 2.5, 0], [-1.3, 1.1, 2.0]])
OCTAHEDRON = 3.0 * np.array(
    [[1, 0, 0], [1 / 3, np.sqrt(8) / 3, 0], [-1 / 3, np.sqrt(2) / 3, np.sqrt(6) / 3]]
)
BOXES = [CUBE, BRICK, SKEW, OCTAHEDRON]


def unwrap(frames: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """Undo jumps of atoms without bonds."""
    n = frames.shape[1]
    graph = MolecularGraph.create(["A"] * n, np.ones(n), [])
    return np.asarray(whole_paths(frames, graph, box))


def naive_length(vector: np.ndarray, box: np.ndarray) -> float:
    shifts = np.array(list(product(range(-6, 7), repeat=3)))
    return float(np.linalg.norm(vector + shifts @ box, axis=1).min())


@pytest.mark.parametrize("box", BOXES)
def test_minimum_image_is_the_shortest_of_all(box: np.ndarray) -> None:
    vectors = np.random.default_rng(0).uniform(-6, 6, size=(40, 3))
    nearest = minimum_image(vectors, box)
    for vector, image in zip(vectors, nearest, strict=True):
        assert np.linalg.norm(image) == pytest.approx(naive_length(vector, box))
    shift = (nearest - vectors) @ np.linalg.inv(box)
    np.testing.assert_allclose(shift, np.round(shift), atol=1e-12)
    np.testing.assert_allclose(images(vectors, box), np.round(shift))


@pytest.mark.parametrize("box", BOXES)
def test_wrapped_positions_lie_in_the_cell(box: np.ndarray) -> None:
    positions = np.random.default_rng(1).uniform(-20, 20, size=(200, 3))
    positions[0], positions[1], positions[2] = -1e-17, box.sum(axis=0), -box[2]
    wrapped = wrap(positions, box)
    fraction = wrapped @ np.linalg.inv(box)
    assert fraction.min() > -1e-12
    assert fraction.max() < 1.0
    shift = (wrapped - positions) @ np.linalg.inv(box)
    np.testing.assert_allclose(shift, np.round(shift), atol=1e-12)


@pytest.mark.parametrize("box", BOXES)
def test_unwrap_undoes_wrap(box: np.ndarray) -> None:
    rng = np.random.default_rng(2)
    steps = rng.uniform(-0.4, 0.4, size=(500, 7, 3))
    steps[0] = wrap(rng.uniform(0, 9, size=(7, 3)), box)
    path = np.cumsum(steps, axis=0) + 0.05 * np.arange(500)[:, None, None]
    assert abs(path[-1] - path[0]).max() > 5 * box.max()
    np.testing.assert_allclose(unwrap(wrap(path, box), box), path, atol=1e-11)


def test_unwrap_adds_whole_boxes_and_does_not_drift() -> None:
    path = np.zeros((20001, 1, 3)) + 0.1 * np.arange(20001)[:, None, None]
    single = wrap(path, CUBE).astype(np.float32)
    assert abs(unwrap(single.astype(float), CUBE) - path).max() < 1e-6


def test_open_boundaries_change_nothing() -> None:
    positions = np.random.default_rng(3).normal(size=(4, 5, 3)) * 100
    for function in (minimum_image, wrap, unwrap):
        assert (function(positions, None) == positions).all()
    assert (unwrap(positions[:1], CUBE) == positions[:1]).all()


def test_widths() -> None:
    assert widths(BRICK).tolist() == pytest.approx([2.0, 3.0, 5.0])
    volume = np.linalg.det(SKEW)
    area = np.linalg.norm(np.cross(SKEW[0], SKEW[1]))
    assert widths(SKEW)[2] == pytest.approx(volume / area)


@pytest.mark.parametrize("seed", range(10))
def test_reduce_keeps_the_lattice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    box = np.diag(rng.uniform(1, 3, 3))
    box[1, 0], box[2, 0], box[2, 1] = rng.uniform(-5, 5, 3)
    reduced = check_box(reduce(box))
    change = reduced @ np.linalg.inv(box)
    np.testing.assert_allclose(change, np.round(change), atol=1e-10)
    assert np.linalg.det(reduced) == pytest.approx(np.linalg.det(box))


def test_reduced_boxes_stay() -> None:
    for box in BOXES:
        np.testing.assert_allclose(reduce(box), box, atol=1e-14)
        assert check_box(box).tolist() == box.tolist()


@pytest.mark.parametrize(
    ("box", "match"),
    [
        (np.ones(3), r"three finite row vectors of shape \(3, 3\)"),
        (np.full((3, 3), np.nan), "three finite row vectors"),
        (np.diag([1.0, 1.0, 0.0]), "reduced form"),
        (np.diag([1.0, -1.0, 1.0]), "reduced form"),
        (SKEW.T, "reduced form"),
        (
            [[3, 0, 0], [1.6, 3, 0], [0, 0, 3]],
            "reduced form .* cgml.molecules.box.reduce",
        ),
        ([[3, 0, 0], [0, 3, 0], [0, -1.6, 3]], "tilts at most half"),
    ],
)
def test_wrong_boxes(box: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        check_box(box)


def test_box_must_hold_the_cutoff_twice() -> None:
    check_box(BRICK, 1.0)
    with pytest.raises(ValueError, match=r"2 x cutoff = 2\.02 nm wide, .* is 2 nm"):
        check_box(BRICK, 1.01)
    narrow = widths(SKEW).min()
    assert narrow < np.linalg.norm(SKEW, axis=1).min()
    with pytest.raises(ValueError, match="smallest perpendicular width"):
        check_box(SKEW, 0.501 * narrow)


@pytest.mark.parametrize("box", [np.zeros((3, 3)), -CUBE, np.ones((2, 2))])
def test_no_lattice(box: np.ndarray) -> None:
    with pytest.raises(ValueError, match="three right-handed box vectors"):
        reduce(box)
