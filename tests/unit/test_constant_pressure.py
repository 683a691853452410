"""Frames whose box breathes, and which frames and atoms of a file are read."""

from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest
from numpy.typing import NDArray

from cgml.formats.selection import FrameOptions, parse_box
from cgml.formats.trajectory import read, read_pieces
from cgml.molecules.box import minimum_image, wrap
from cgml.molecules.centres import centres_of_mass
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.scaling import largest_change

BRICK = np.diag([3.0, 2.5, 2.0])
TILTED = np.array([[3.0, 0, 0], [1.4, 2.5, 0], [-1.3, 1.1, 2.0]])
N_FRAMES = 12


def topology() -> mdtraj.Topology:
    """Two molecules of three carbons, and a water."""
    top = mdtraj.Topology()
    for name, atoms in (("POL", "CCC"), ("POL", "CCC"), ("HOH", "OHH")):
        residue = top.add_residue(name, top.add_chain())
        added = [
            top.add_atom(
                f"{symbol}{i or ''}", mdtraj.element.get_by_symbol(symbol), residue
            )
            for i, symbol in enumerate(atoms)
        ]
        top.add_bond(added[0], added[1])
        top.add_bond(added[0] if name == "HOH" else added[1], added[2])
    return top


def graph() -> MolecularGraph:
    top = topology()
    return MolecularGraph.create(
        [atom.element.symbol for atom in top.atoms],
        [atom.element.mass for atom in top.atoms],
        np.array([(bond.atom1.index, bond.atom2.index) for bond in top.bonds]),
    )


GRAPH = graph()


def breathing(
    box: NDArray[np.float64], *, size: float = 0.01
) -> tuple[NDArray[np.float64], ...]:
    """Make a run at constant pressure.

    Returns:
        Boxes; places of the centres of mass in units of the box vectors, without
        jumps, (n_frames, 3, 3); shapes about them, (n_frames, 9, 3) nm.
    """
    rng = np.random.default_rng(3)
    strains = np.eye(3) + size * np.tril(rng.uniform(-1, 1, size=(N_FRAMES, 3, 3)))
    places = np.cumsum(rng.uniform(-0.1, 0.2, size=(N_FRAMES, 3, 3)), axis=0)
    steps = rng.uniform(-0.12, 0.12, size=(N_FRAMES, 9, 3))
    owner = GRAPH.molecule_index
    centres = centres_of_mass(steps, owner, GRAPH.masses)
    return box @ strains, places, steps - centres[:, owner]


def save(path: Path, box: NDArray[np.float64], **options: Any) -> Path:
    boxes, places, shapes = breathing(box, **options)
    atoms = (places @ boxes)[:, GRAPH.molecule_index] + shapes
    wrapped = np.stack([wrap(x, b) for x, b in zip(atoms, boxes, strict=True)])
    frames = mdtraj.Trajectory(
        wrapped.astype("f4"), topology(), time=np.arange(float(N_FRAMES))
    )
    frames.unitcell_vectors = boxes.astype("f4")
    frames.save(str(path))
    return path


@pytest.mark.parametrize("box", [BRICK, TILTED])
@pytest.mark.parametrize("suffix", [".xtc", ".trr", ".dcd"])
def test_centres_go_into_the_mean_box_and_shapes_stay(
    tmp_path: Path, suffix: str, box: NDArray[np.float64]
) -> None:
    path = save(tmp_path / f"a{suffix}", box)
    found = read(path, GRAPH, time_step=1.0)
    boxes, places, shapes = breathing(box)
    mean = boxes.mean(axis=0)
    assert found.box is not None
    np.testing.assert_allclose(found.box, mean, atol=2e-5)
    owner = GRAPH.molecule_index
    centres = centres_of_mass(found.positions, owner, GRAPH.masses)
    np.testing.assert_allclose(found.positions - centres[:, owner], shapes, atol=2e-3)
    path_of_centres = places @ mean
    np.testing.assert_allclose(  # no jumps in time
        centres - centres[:1], path_of_centres - path_of_centres[:1], atol=4e-3
    )
    offset = minimum_image(centres[0] - path_of_centres[0], mean)
    np.testing.assert_allclose(offset, 0.0, atol=2e-3)
    assert found.scaling == pytest.approx(largest_change(boxes, mean).max(), rel=1e-2)


def test_a_constant_box_is_left_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "a.xtc", BRICK, size=0.0)
    assert read(path, GRAPH).scaling == 0.0


@pytest.mark.parametrize("n", [1, 5, 99])
@pytest.mark.parametrize("stride", [1, 3])
def test_pieces_give_the_same_bits(tmp_path: Path, n: int, stride: int) -> None:
    path = save(tmp_path / "a.xtc", TILTED)
    options = FrameOptions(start=2, stop=-1, stride=stride)
    whole = read(path, GRAPH, frames=options)
    assert whole.times.tolist() == list(range(2, N_FRAMES - 1, stride))
    pieces = list(read_pieces(path, GRAPH, n_frames=n, frames=options))
    together = np.concatenate([piece.positions for piece in pieces])
    assert together.tobytes() == whole.positions.tobytes()
    boxes = breathing(TILTED)[0][2:-1:stride].astype("f4")
    np.testing.assert_allclose(pieces[0].box, boxes.mean(axis=0), atol=1e-5)


def test_a_box_of_ones_own(tmp_path: Path) -> None:
    path = save(tmp_path / "a.xtc", BRICK)
    found = read(path, GRAPH, frames=FrameOptions(box=1.02 * BRICK))
    np.testing.assert_allclose(found.box, 1.02 * BRICK)
    with pytest.raises(ValueError, match=r"a\.xtc in frame \d+, .* the box given, .*"):
        read(path, GRAPH, frames=FrameOptions(box=1.2 * BRICK))
    constant = save(tmp_path / "b.xtc", BRICK, size=0.0)
    mean = read(constant, GRAPH, frames=FrameOptions(box=1.02 * BRICK))
    assert mean.scaling == pytest.approx(0.02, rel=1e-3)
    frames = mdtraj.load(str(constant), top=topology())
    frames.unitcell_vectors = None
    frames.save_dcd(str(tmp_path / "c.dcd"))  # a file without its box
    given = FrameOptions(box=np.diag(BRICK))
    boxed = read(tmp_path / "c.dcd", GRAPH, time_step=1.0, frames=given)
    expected = read(constant, GRAPH)
    np.testing.assert_allclose(boxed.positions, expected.positions, atol=2e-3)


def test_a_box_that_drifts_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.xtc", BRICK, size=0.2)
    match = r"at most 0\.05 are required, those of .*a\.xtc in frame \d+.*\(start\)"
    with pytest.raises(ValueError, match=match):
        read(path, GRAPH)
    allowed = FrameOptions(max_scaling=0.5)
    assert read(path, GRAPH, frames=allowed).scaling > 0.05


def test_molecules_are_taken_out_of_their_box(tmp_path: Path) -> None:
    path = save(tmp_path / "a.xtc", BRICK, size=0.0)
    free = read(path, GRAPH, frames=FrameOptions(is_open=True))
    assert free.box is None
    np.testing.assert_array_equal(free.positions, read(path, GRAPH).positions)


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({"start": 3}, range(3, 12)),
        ({"stop": 4}, range(4)),
        ({"start": -1}, [11]),
        ({"start": 5, "stop": 6}, [5]),
        ({"start": 1, "stop": 8, "stride": 3}, [1, 4, 7]),
        ({"start": -5, "stop": -2}, [7, 8, 9]),
    ],
)
def test_frames(tmp_path: Path, options: dict[str, int], times: Any) -> None:
    path = save(tmp_path / "a.xtc", BRICK, size=0.0)
    found = read(path, GRAPH, frames=FrameOptions(**options))
    assert found.times.tolist() == list(times)
    everything = read(path, GRAPH)
    start, owner = int(found.times[0]), GRAPH.molecule_index
    kept = everything.positions[found.times.astype(int)]
    moved = centres_of_mass(kept[:1] - found.positions[:1], owner)[:, owner]
    moved = np.round(moved / np.diag(BRICK)) * np.diag(BRICK)  # another first image
    np.testing.assert_allclose(found.positions + moved, kept, atol=1e-5)
    assert start == times[0]


@pytest.mark.parametrize("options", [{"start": 12}, {"start": -13}, {"stop": 0}])
def test_no_frames_are_left(tmp_path: Path, options: dict[str, int]) -> None:
    path = save(tmp_path / "a.xtc", BRICK, size=0.0)
    with pytest.raises(ValueError, match=r"a\.xtc.*"):
        read(path, GRAPH, frames=FrameOptions(**options))


def test_atoms_are_selected(tmp_path: Path) -> None:
    path = save(tmp_path / "a.xtc", BRICK)
    names = tmp_path / "a.pdb"
    mdtraj.load(str(path), top=topology())[0].save_pdb(str(names))
    options = FrameOptions(select="resname POL")
    dry = read(path, names, frames=options)
    assert dry.graph.types == ("C",) * 6
    np.testing.assert_array_equal(dry.positions, read(path, names).positions[:, :6])
    stripped = mdtraj.load(str(path), top=topology()).atom_slice(range(6))
    stripped.save_xtc(str(tmp_path / "dry.xtc"))  # the topology still has the water
    again = read(tmp_path / "dry.xtc", names, frames=options)
    np.testing.assert_allclose(again.positions, dry.positions, atol=2e-3)


@pytest.mark.parametrize(
    ("select", "match"),
    [
        ("resname CAT", r"names no atom of .*a\.pdb, whose residues are HOH, POL"),
        ("name C", r"takes atom POL\d-C \(0\) of .* leaves POL\d-C1 \(1\).*whole mol"),
        ("nonsense !", "is not in mdtraj's selection language, as 'not water'"),
        ("name C and", r"language, .* is: unexpected end of text.{,70}$"),
    ],
)
def test_selections_that_make_no_sense(tmp_path: Path, select: str, match: str) -> None:
    path = save(tmp_path / "a.xtc", BRICK)
    names = tmp_path / "a.pdb"
    mdtraj.load(str(path), top=topology())[0].save_pdb(str(names))
    with pytest.raises(ValueError, match=match):
        read(path, names, frames=FrameOptions(select=select))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"stride": 0}, "stride must be 1 or more, got 0"),
        ({"max_scaling": 1.5}, "max_scaling must be between 0 and 1, got 1.5"),
        ({"max_scaling": np.nan}, "max_scaling must be between 0 and 1"),
        ({"box": np.zeros(3)}, "a box of positive edges"),
        ({"box": BRICK, "is_open": True}, "either a box is given or none is kept"),
    ],
)
def test_bad_options(options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        FrameOptions(**options)


@pytest.mark.parametrize("text", ["", "1,2", "a", "0", "nan", "1,2,inf", "-3"])
def test_bad_boxes(text: str) -> None:
    with pytest.raises(ValueError, match=r"given as X or X,Y,Z"):
        parse_box(text)


def test_boxes() -> None:
    assert parse_box("2").tolist() == np.diag([2.0, 2.0, 2.0]).tolist()


def test_a_dump_of_constant_pressure(tmp_path: Path) -> None:
    """LAMMPS dilates about the middle: corners of boxes move, molecules rest."""
    rows = []
    boxes, places, shapes = breathing(BRICK)
    edges = np.diagonal(boxes, axis1=1, axis2=2) * 10.0  # Angstrom
    for frame, edge in enumerate(edges):
        low = 15.0 - edge / 2.0
        centres = low / 10.0 + (places[0] % 1.0) * edge / 10.0
        atoms = 10.0 * (centres[GRAPH.molecule_index] + shapes[frame])
        bounds = "\n".join(f"{a} {a + b}" for a, b in zip(low, edge, strict=True))
        lines = "\n".join(f"{i + 1} {x} {y} {z}" for i, (x, y, z) in enumerate(atoms))
        rows.append(
            f"ITEM: TIMESTEP\n{frame}\nITEM: NUMBER OF ATOMS\n9\n"
            f"ITEM: BOX BOUNDS pp pp pp\n{bounds}\nITEM: ATOMS id x y z\n{lines}\n"
        )
    (tmp_path / "a.dump").write_text("".join(rows))
    found = read(tmp_path / "a.dump", GRAPH, time_step=1.0)
    centres = centres_of_mass(found.positions, GRAPH.molecule_index, GRAPH.masses)
    np.testing.assert_allclose(
        centres, np.broadcast_to(centres[:1], centres.shape), atol=1e-5
    )
    assert 0.0 < found.scaling < 0.02
