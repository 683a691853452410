"""Writes small LAMMPS files, line by line as its manual describes them."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np

BRICK = np.diag([30.0, 26.0, 24.0])  # Angstrom
SKEW = np.array([[30.0, 0, 0], [14.0, 25.0, 0], [-13.0, 11.0, 20.0]])
LEFT = np.array([[30.0, 0, 0], [-9.0, 25.0, 0], [-11.0, -7.0, 20.0]])
CORNER = np.array([-3.0, 2.0, 5.0])

# Two alcohols in pieces, their atoms mixed with two lithium ions. Ids have gaps.
IDS = np.array([2, 3, 5, 7, 8, 9, 12, 13, 20, 21])
TYPES = np.array([1, 3, 4, 1, 2, 3, 4, 2, 1, 1])
MOLECULES = np.array([1, 1, 2, 1, 1, 3, 4, 3, 3, 3])
MASSES = {1: 12.0112, 2: 1.00797, 3: 15.9994, 4: 6.941, 5: 1.0}  # 5 is not used
BONDS = [(7, 2, 3), (3, 2, 7), (1, 3, 8), (7, 9, 20), (3, 20, 21), (1, 9, 13)]
"""Type and two atom ids of each bond."""
NAMES = ["C", "O", "Li", "C", "H", "O", "Li", "H", "C", "C"]


def paths(n_frames: int = 5) -> np.ndarray:
    """True paths, (n_frames, 10, 3), Angstrom: short bonds, centres that wander."""
    rng = np.random.default_rng(3)
    centres = rng.uniform(0, 25, (4, 3))[MOLECULES - 1]
    drift = np.cumsum(rng.uniform(-4, 9, (n_frames, 4, 3)), axis=0)[:, MOLECULES - 1]
    return np.asarray(centres + drift + rng.uniform(-1, 1, (n_frames, 10, 3)))


def wrapped(frame: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return positions in the box and the image flags that undo it."""
    flags = np.floor((frame - CORNER) @ np.linalg.inv(box))
    return frame - flags @ box, flags


def write(path: Path, text: str) -> Path:
    """Write a text, compressed if the name says so."""
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def bounds(box: np.ndarray, ends: str = "pp pp pp") -> str:
    """Write the box of a dump: that around a tilted box, and its tilts."""
    low, high = CORNER.copy(), CORNER + np.diag(box)
    if not np.tril(box, -1).any():
        rows = [
            f"{a!r} {b!r}" for a, b in zip(low.tolist(), high.tolist(), strict=True)
        ]
        return "\n".join([f"ITEM: BOX BOUNDS {ends}", *rows])
    corners = [
        CORNER + i * box[0] + j * box[1] + k * box[2]
        for i in (0, 1)
        for j in (0, 1)
        for k in (0, 1)
    ]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    tilts = [box[1, 0], box[2, 0], box[2, 1]]
    rows = [f"{low[k]:.12g} {high[k]:.12g} {tilts[k]:.12g}" for k in range(3)]
    return "\n".join([f"ITEM: BOX BOUNDS xy xz yz {ends}", *rows])


def frame_text(
    frame: np.ndarray,
    step: int,
    box: np.ndarray,
    columns: str,
    *,
    seed: int | None = None,
) -> str:
    """Write one frame; columns as in a dump command, atoms shuffled by a seed."""
    inside, flags = wrapped(frame, box)
    inverse = np.linalg.inv(box)
    table: dict[str, np.ndarray] = {
        "id": IDS,
        "mol": MOLECULES,
        "type": TYPES,
        "element": np.array(NAMES),
    }
    for k, axis in enumerate("xyz"):
        table[axis], table[f"{axis}u"] = inside[:, k], frame[:, k]
        table[f"{axis}s"] = ((inside - CORNER) @ inverse)[:, k]
        table[f"{axis}su"] = ((frame - CORNER) @ inverse)[:, k]
        table[f"i{axis}"] = flags[:, k].astype(int)
    order = range(10) if seed is None else np.random.default_rng(seed).permutation(10)
    rows = [" ".join(str(table[name][i]) for name in columns.split()) for i in order]
    head = [f"ITEM: TIMESTEP\n{step}\nITEM: NUMBER OF ATOMS\n10", bounds(box)]
    return "\n".join([*head, f"ITEM: ATOMS {columns} ", *rows, ""])


def dump_text(
    columns: str = "id type x y z ix iy iz",
    box: np.ndarray = BRICK,
    *,
    steps: Sequence[int] = (0, 500, 1000, 1500, 2000),
    is_sorted: bool = True,
) -> str:
    """Write a dump of `paths`."""
    frames = paths(len(steps))
    return "".join(
        frame_text(frame, step, box, columns, seed=None if is_sorted else step + 1)
        for frame, step in zip(frames, steps, strict=True)
    )


HEADER = """{title}

10 atoms
6 bonds
5 atom types   # one of them unused
7 bond types

{box}
"""
SECTIONS = {
    "Pair Coeffs # lj/class2/coul/long": "1 0.1 3.5\n2 0.1 2.5",
    "BondBond13 Coeffs": "1 0 1.1 1.4",
    "Velocities": "\n".join(f"{i} 0.1 -0.2 1e-3" for i in IDS[::-1]),
    "Masses": "\n".join(f"{kind} {mass}  # type" for kind, mass in MASSES.items()),
    "Bonds": "\n".join(f"{i + 1} {a} {b} {c}" for i, (a, b, c) in enumerate(BONDS)),
}


def data_text(
    box: np.ndarray = BRICK,
    *,
    has_flags: bool = True,
    hint: str = " # full",
    is_reversed: bool = False,
) -> str:
    """Write a data file of the first frame of `paths`, its atoms not in order."""
    inside, flags = wrapped(paths()[0], box)
    if not has_flags:
        inside, flags = paths()[0], np.zeros((10, 3))
    rows = []
    for i in np.random.default_rng(0).permutation(10):
        row = [IDS[i], MOLECULES[i], TYPES[i], 0.25, *inside[i]]
        row += flags[i].astype(int).tolist() if has_flags else []
        rows.append(" ".join(str(value) for value in row))
    ends = zip("xyz", CORNER, CORNER + np.diag(box), strict=True)
    lines = [f"{low:.12g} {high:.12g} {k}lo {k}hi" for k, low, high in ends]
    if np.tril(box, -1).any():
        lines.append(f"{box[1, 0]} {box[2, 0]} {box[2, 1]} xy xz yz")
    sections = {**SECTIONS, f"Atoms{hint}": "\n".join(rows)}
    names = list(sections)[::-1] if is_reversed else list(sections)
    body = "".join(f"\n{name}\n\n{sections[name]}\n" for name in names)
    return HEADER.format(title="LAMMPS data file", box="\n".join(lines)) + body
