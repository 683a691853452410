"""Structure and motion of the atoms in boxes of PEO with LiTFSI.

    python benchmarks/peo_atoms.py FOLDER [FOLDER ...]

A FOLDER is one that `examples/8_simulate_peo_litfsi.py` simulates in: its segments of
atoms are read. What beads do not show stands side by side for boxes with and without
hydrogens: shells of Li, gauche states, and displacements. Errors are standard errors of
five blocks of time, of displacements those of chains and ions.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from numpy.typing import NDArray

from openmm_cgml.testsystems.peo import PeoSystem
from openmm_cgml.testsystems.peo_beads import bead_positions, bead_types
from openmm_cgml.testsystems.peo_protocol import density
from openmm_cgml.testsystems.peo_runs import PeoBox

SHELL = 0.28  # nm
LAGS = (20.0, 100.0, 500.0, 1000.0)  # ps
N_BLOCKS = 5
STRIDE = 5  # of frames for structure

Floats = NDArray[np.float64]


def read(folder: Path) -> tuple[PeoSystem, float, mdtraj.Trajectory]:
    """Box, its edge in nm, and all segments of atoms in a folder."""
    record = json.loads((folder / "state.json").read_text())
    box = PeoBox(**record["box"]).build()
    segments = sorted(str(path) for path in (folder / "production").glob("*.xtc"))
    topology = mdtraj.Topology.from_openmm(box.topology)
    return box, record["edge"], mdtraj.load(segments, top=topology)


def is_of_chain(atom: Any) -> bool:
    """Whether an atom is of a chain."""
    return atom.residue.name not in ("LI", "TFS")


def blocks(values: Floats) -> tuple[float, float]:
    """Mean of a figure of each frame, and its standard error from blocks of time."""
    means = [block.mean() for block in np.array_split(values, N_BLOCKS)]
    return float(np.mean(means)), float(np.std(means, ddof=1) / np.sqrt(N_BLOCKS))


def shell(frames: mdtraj.Trajectory, li: list[int], oxygens: list[int]) -> str:
    """Peak of g(r) of Li and oxygens, and oxygens within the shell of a Li."""
    pairs = np.array([(one, other) for one in li for other in oxygens])
    places, g = mdtraj.compute_rdf(frames, pairs, r_range=(0.1, 0.6), bin_width=0.002)
    near = mdtraj.compute_distances(frames, pairs) < SHELL
    count, error = blocks(near.sum(axis=1) / len(li))
    peak = int(g.argmax())
    return f"peak {places[peak]:.3f} nm, {count:.3f} ({error:.3f}) within {SHELL} nm"


def twists(frames: mdtraj.Trajectory, ethers: list[int]) -> str:
    """Shares of O-C-C-O that are gauche, trans, and near 0."""
    neighbours: dict[int, list[int]] = {}
    for one, other in frames.topology.bonds:
        neighbours.setdefault(one.index, []).append(other.index)
        neighbours.setdefault(other.index, []).append(one.index)
    ends = set(ethers)
    found = [
        (start, first, second, end)
        for start in ethers
        for first in neighbours[start]
        for second in neighbours[first]
        for end in neighbours[second]
        if end in ends and second != start and start < end
    ]
    angles = np.degrees(mdtraj.compute_dihedrals(frames, np.array(found)))
    size = np.abs(angles)
    gauche = ((size >= 30.0) & (size < 120.0)).mean()
    return (
        f"gauche {gauche:.2f}, trans {(size >= 120.0).mean():.2f}, "
        f"below 30 degrees {(size < 30.0).mean():.2f} ({len(found)} in a frame)"
    )


def displacements(beads: Floats, n_molecules: int, step: float) -> str:
    """Mean squared displacements of beads (n_frames, n, 3) at some lags, nm^2.

    Args:
        beads: molecule after molecule, all alike.
        n_molecules: to which they belong.
        step: between frames, ps.
    """
    cells = []
    for lag in LAGS:
        n = round(lag / step)
        if 2 * n <= len(beads):
            squares = np.square(beads[n:] - beads[:-n]).sum(axis=2).mean(axis=0)
            squares = squares.reshape(n_molecules, -1).mean(axis=1)
            error = squares.std(ddof=1) / np.sqrt(len(squares))
            cells.append(f"{squares.mean():.3f} ({error:.3f}) in {lag:g} ps")
    return ", ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    for folder in parser.parse_args().folders:
        box, edge, frames = read(folder)
        atoms = list(frames.topology.atoms)
        li = [atom.index for atom in atoms if atom.residue.name == "LI"]
        oxygens = [atom for atom in atoms if atom.name.startswith("O")]
        ethers = [atom.index for atom in oxygens if is_of_chain(atom)]
        anions = [atom.index for atom in oxygens if not is_of_chain(atom)]
        few, step = frames[::STRIDE], float(np.diff(frames.time[:2])[0])
        time = 1e-3 * step * frames.n_frames
        print(f"{folder.name}: {time:.2f} ns, {density(box, edge):.3f} g/cm3")
        print(f"{'Li-O of ethers':>20}: {shell(few, li, ethers)}")
        print(f"{'Li-O of TFSI':>20}: {shell(few, li, anions)}")
        print(f"{'O-C-C-O':>20}: {twists(few, ethers)}")
        beads = bead_positions(box, frames.xyz)
        types = np.array([name[:2] for name in bead_types(box)])
        n_chains = len(
            {atom.residue.chain.index for atom in filter(is_of_chain, atoms)}
        )
        for name, begun in {"EO": "EO", "Li": "Li", "TFSI": "TF"}.items():
            these = beads[:, types == begun]
            n_molecules = n_chains if name == "EO" else these.shape[1]
            moved = displacements(these, n_molecules, step)
            print(f"{name + ', nm^2':>20}: {moved}")


if __name__ == "__main__":
    main()
