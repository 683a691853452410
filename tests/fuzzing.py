"""Files of every kind, damaged by chance: data that passed a check, or one line.

A process of its own, with limits on memory and time:

    python tests/fuzzing.py FOLDER SECONDS [FIRST SEED [FORMAT ...]]

It prints a line of JSON for each case that goes wrong (format, seed, what), and at last
how many cases of each format were tried. The same seed damages a file the same way;
the file lies in FOLDER until the next case, so it is there after a crash.
"""

import gzip
import io
import itertools
import json
import logging
import random
import re
import resource
import signal
import struct
import sys
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import mdtraj
import numpy as np
from workflow_tools import write_chains

from cgml.evaluation import predictions
from cgml.formats import dcd, gromacs
from cgml.formats.openmm_xml import read_masses
from cgml.formats.trajectory import (
    LammpsOptions,
    read,
    read_beads,
    read_reference,
    read_topology,
    write_beads,
)
from cgml.formats.type_table import read_types
from cgml.molecules.chemistry import Chemistry, Row
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.hand import read_mapping
from cgml.molecules.mapping import Mapping
from cgml.npz import read_arrays
from cgml.runs.parts import PartWriter
from cgml.runs.soundness import BEFORE, DIGEST, Layout, keep_sound

N, N_FRAMES = 12, 4
MEMORY, SECONDS = 1 << 30, 15
"""What one case may take: bytes besides those of the process, s."""
LARGEST = 1.0e6  # nm: farther out is nonsense

LINE = np.cumsum(np.full((N, 3), [0.12, 0.05, 0.02]), axis=0)  # nm
FRAMES = (LINE + 0.01 * np.random.default_rng(0).normal(size=(N_FRAMES, N, 3))).astype(
    np.float32
)
BOX = np.diag([3.0, 3.5, 4.0])
GRAPH = MolecularGraph.create(
    ["C"] * N, [12.011] * N, [(i, i + 1) for i in range(N - 1)]
)
TIMES = 10.0 * np.arange(N_FRAMES)


# --- good files


def binary(writer: Any, path: Path) -> None:
    writer.append(FRAMES, TIMES)
    writer.close()


def pdb(path: Path) -> None:
    lines = [
        f"HETATM{i:5d}  C{i:<2d} PEO A   1    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00"
        "           C"
        for i, (x, y, z) in enumerate(10.0 * LINE, 1)
    ]
    lines += [f"CONECT{i:5d}{i + 1:5d}" for i in range(1, N)]
    path.write_text("CRYST1   30.000   35.000   40.000  90.00  90.00  90.00 P 1\n")
    path.write_text(path.read_text() + "\n".join([*lines, "END", ""]))


def gro(path: Path) -> None:
    rows = [
        f"{1:5d}{'PEO':<5s}{'C':>5s}{i:5d}{x:8.3f}{y:8.3f}{z:8.3f}"
        for i, (x, y, z) in enumerate(LINE, 1)
    ]
    path.write_text("\n".join(["chain", f"{N:5d}", *rows, "   3.0   3.5   4.0", ""]))


def top(path: Path) -> None:
    atoms = [f"{i} c3 1 PEO C{i} {i} 0.0 12.011" for i in range(1, N + 1)]
    bonds = [f"{i} {i + 1} 1" for i in range(1, N)]
    sections = {
        "defaults": ["1 2 yes 0.5 0.8"],
        "atomtypes": ["c3 6 12.011 0.0 A 0.34 0.45"],
        "moleculetype": ["PEO 3"],
        "atoms": atoms,
        "bonds": bonds,
        "system": ["chain"],
        "molecules": ["PEO 2"],
    }
    lines = [[f"[ {name} ]", *rows, ""] for name, rows in sections.items()]
    path.write_text("\n".join(itertools.chain.from_iterable(lines)))


def data(path: Path) -> None:
    atoms = [
        f"{i} 1 1 0.0 {x:.4f} {y:.4f} {z:.4f} 0 0 0"
        for i, (x, y, z) in enumerate(10.0 * LINE, 1)
    ]
    bonds = [f"{i} 1 {i} {i + 1}" for i in range(1, N)]
    head = f"title\n\n{N} atoms\n{N - 1} bonds\n1 atom types\n1 bond types\n"
    head += "0 30 xlo xhi\n0 35 ylo yhi\n0 40 zlo zhi\n"
    text = f"{head}\nMasses\n\n1 12.011 # C\n\nAtoms # full\n\n"
    path.write_text("\n".join([text, *atoms, "", "Bonds", "", *bonds, ""]))


def dump(path: Path) -> None:
    text = ""
    for step, frame in enumerate(FRAMES):
        text += f"ITEM: TIMESTEP\n{100 * step}\nITEM: NUMBER OF ATOMS\n{N}\n"
        text += "ITEM: BOX BOUNDS pp pp pp\n0 30\n0 35\n0 40\n"
        text += "ITEM: ATOMS id x y z ix iy iz\n"
        for i, (x, y, z) in enumerate(10.0 * frame, 1):
            text += f"{i} {x:.4f} {y:.4f} {z:.4f} 0 0 0\n"
    path.write_text(text)


def packed(path: Path) -> None:
    dump(path)
    path.write_bytes(gzip.compress(path.read_bytes()))


def trr(path: Path) -> None:
    from mdtraj.formats import TRRTrajectoryFile

    with TRRTrajectoryFile(str(path), "w") as file:
        file.write(FRAMES, TIMES, np.arange(N_FRAMES), np.stack([BOX] * N_FRAMES))


def sdf(path: Path) -> None:
    atoms = [f"{x:10.4f}{y:10.4f}{z:10.4f} C   0  0" for x, y, z in 10.0 * LINE]
    bonds = [f"{i:3d}{i + 1:3d}  1  0" for i in range(1, N)]
    head = ["chain", "", "", f"{N:3d}{N - 1:3d}  0  0  0  0  0  0  0  0999 V2000"]
    path.write_text("\n".join([*head, *atoms, *bonds, "M  END", "$$$$", ""]))


def mol2(path: Path) -> None:
    atoms = [f"{i} C{i} {10 * i}.0 0.0 0.0 C.3 1 PEO 0.0" for i in range(1, N + 1)]
    bonds = [f"{i} {i} {i + 1} 1" for i in range(1, N)]
    head = ["@<TRIPOS>MOLECULE", "chain", f"{N} {N - 1} 1", "SMALL", "NO_CHARGES", ""]
    parts = [*head, "@<TRIPOS>ATOM", *atoms, "@<TRIPOS>BOND", *bonds, ""]
    path.write_text("\n".join(parts))


def psf(path: Path) -> None:
    atoms = [
        f"{i:8d} A    1    PEO  {f'C{i}':4s} CT    0.000000       12.0110           0"
        for i in range(1, N + 1)
    ]
    ends = [f"{i:8d}{i + 1:8d}" for i in range(1, N)]
    head = ["PSF", "", "       1 !NTITLE", " REMARKS chain", "", f"{N:8d} !NATOM"]
    bonds = ["".join(ends[i : i + 4]) for i in range(0, len(ends), 4)]
    rows = [*head, *atoms, "", f"{N - 1:8d} !NBOND: bonds", *bonds, ""]
    path.write_text("\n".join([*rows, "       0 !NTHETA", ""]))


def prmtop(path: Path) -> None:
    ends = [text for i in range(N - 1) for text in (3 * i, 3 * i + 3, 1)]
    counts = [N, 1, 0, N - 1, *[0] * 7, 1, N - 1, *[0] * 18]
    tables = {
        "TITLE": ("20a4", ["chain"]),
        "POINTERS": ("10I8", [f"{n:8d}" for n in counts]),
        "ATOM_NAME": ("20a4", [f"{f'C{i}':4s}" for i in range(1, N + 1)]),
        "ATOMIC_NUMBER": ("10I8", [f"{6:8d}"] * N),
        "MASS": ("5E16.8", [f"{12.011:16.8E}"] * N),
        "RESIDUE_LABEL": ("20a4", ["PEO "]),
        "RESIDUE_POINTER": ("10I8", [f"{1:8d}"]),
        "BONDS_INC_HYDROGEN": ("10I8", []),
        "BONDS_WITHOUT_HYDROGEN": ("10I8", [f"{n:8d}" for n in ends]),
        "AMBER_ATOM_TYPE": ("20a4", ["c3  "] * N),
    }
    text = "%VERSION  VERSION_STAMP = V0001.000  DATE = 01/01/20 00:00:00\n"
    for name, (form, cells) in tables.items():
        width = int(re.split(r"[aIE.]", form)[0])
        rows = ["".join(cells[i : i + width]) for i in range(0, len(cells), width)]
        text += "\n".join([f"%FLAG {name}", f"%FORMAT({form})", *(rows or [""]), ""])
    path.write_text(text)


def of_mdtraj(path: Path) -> None:
    """What mdtraj writes."""
    topology = mdtraj.Topology()
    residue = topology.add_residue("PEO", topology.add_chain())
    atoms = [
        topology.add_atom(f"C{i}", mdtraj.element.carbon, residue) for i in range(N)
    ]
    for pair in itertools.pairwise(atoms):
        topology.add_bond(*pair)
    n = 1 if path.suffix in {".rst7", ".ncrst", ".cif"} else N_FRAMES
    written = mdtraj.Trajectory(FRAMES[:n], topology, time=TIMES[:n])
    written.unitcell_vectors = np.stack([BOX] * n).astype("f4")
    written.save(str(path))


def hdf5(path: Path) -> None:
    """The layout of mdtraj, whose writer wants PyTables."""
    atoms = [{"index": i, "name": f"C{i}", "element": "C"} for i in range(N)]
    residue = {"index": 0, "name": "PEO", "resSeq": 1, "atoms": atoms}
    chains = [{"index": 0, "residues": [residue]}]
    bonds = [[i, i + 1] for i in range(N - 1)]
    with h5py.File(path, "w") as file:
        file["coordinates"], file["time"] = FRAMES, TIMES
        file["cell_lengths"] = np.stack([BOX.diagonal()] * N_FRAMES)
        file["cell_angles"] = np.full((N_FRAMES, 3), 90.0)
        text = json.dumps({"chains": chains, "bonds": bonds})
        file["topology"] = np.array([text.encode()])


def hoomd(path: Path) -> None:
    places = "".join(f"\n{x:.4f} {y:.4f} {z:.4f}" for x, y, z in LINE)
    bonds = "".join(f"\nb {i} {i + 1}" for i in range(N - 1))
    path.write_text(
        '<?xml version="1.0"?><hoomd_xml version="1.5"><configuration>'
        '<box lx="3" ly="3" lz="4" xy="0" xz="0" yz="0"/>'
        f"<position>{places}</position><type>{chr(10) + chr(10).join('C' * N)}</type>"
        f"<bond>{bonds}</bond></configuration></hoomd_xml>"
    )


def arc(path: Path) -> None:
    rows = [
        f"{i:6d}  C  {x:11.6f} {y:11.6f} {z:11.6f}  1 {i - 1 if i > 1 else 2}"
        f"{f' {i + 1}' if 1 < i < N else ''}"
        for i, (x, y, z) in enumerate(10.0 * LINE, 1)
    ]
    path.write_text("\n".join([f"{N:6d}  chain", *rows, ""]))


def mapping(path: Path) -> None:
    Mapping.from_partition(GRAPH, 4).save(path)


BASELINES = {
    "baselines": [{"name": "a", "subjects": ["x", "y"], "values": {"d": [[1.0, 2.0]]}}]
}
BEADS = '[[bead]]\nname = "a"\nresidue = "*"\natoms = ["C", "O*"]\n'
LAYOUT = Layout([slice(0, 5), slice(5, N)], n_history=1, n_radii=0, stride=1, origin="")


def part(path: Path) -> None:
    import torch

    from cgml.dynamics.propagator import State

    known = torch.ones(2, dtype=torch.int64)
    places = [torch.from_numpy(frame.astype("f8")) for frame in FRAMES]
    moves = torch.zeros(1, N, 3, dtype=torch.float64)
    states = [State(each, moves, known, n * known) for n, each in enumerate(places, 1)]
    writer = PartWriter(path.parent, LAYOUT)
    writer.write(
        0, states, radii=None, guard_trips=[{"bond": 2}, {}], stops=[None, None]
    )


SYSTEM = '<System><Particles><Particle mass="12"/></Particles></System>'


def h5md(path: Path) -> None:
    chains = path.with_suffix(".npz")
    write_chains(chains, 1, N_FRAMES, 0)
    write_beads(path, read_reference(chains)[0])


def model(path: Path) -> None:
    from conftest import tiny_spec
    from core_systems import idle_model

    from cgml.models.file import save_model

    save_model(path, tiny_spec(), idle_model(tiny_spec()))


def checkpoint(path: Path) -> None:
    import torch

    state = {"a.weight": torch.randn(4, 3), "a.bias": torch.randn(4)}
    torch.save({"state_dict": state, "epoch": 3, "optimizer_states": []}, path)


CONFIG = """
name = "a"
output = "out"
time_step = 20.0
temperature = 120.272
[data]
train = ["a*.h5md"]
validation = ["b.h5md"]
"""

TYPES = 'C1 = {type="C", mass=12.0}\nH = 1.0\n'
CONDITIONS = {"threads": 1, "torch": "2.0", "processor": "some"}
PLAN = {"model": "abc", "systems": [["a", "b", "c"]], "n_steps": 10, "seed": 0}
PLAN |= {"guard": "stop"}


def plan(path: Path) -> None:
    from cgml.dynamics.guards import GUARDS
    from cgml.runs.plan import Tally, record

    tally = Tally(dict.fromkeys(GUARDS, 1), ["a ended"], {"a.dcd": 12})
    conditions = PLAN | {"conditions": CONDITIONS}
    record(path.parent, conditions, [range(2)], tally, Path("model.pt"))


# --- what reads them, and what the data must be


def sane(positions: Any, times: Any, box: Any) -> None:
    """Require numbers that a simulation can have."""
    good = np.isfinite(positions).all() and abs(positions).max() < LARGEST
    good &= bool((np.diff(times) > 0.0).all()) and abs(times).max() < 1e30
    if box is not None:
        good &= 1e-3 < np.linalg.det(box) < LARGEST**3 and abs(box).max() < LARGEST
    if not good:
        raise AssertionError(f"nonsense: {positions} {times} {box}")


def frames(path: Path) -> None:
    step = 1.0 if ".dump" in path.suffixes else None
    found = read(path, GRAPH, lammps=LammpsOptions(md_step=step))
    sane(found.positions, found.times, found.box)


def topology(path: Path) -> None:
    graph = read_topology(path)
    good = np.isfinite(graph.masses).all() and (graph.masses > 0.0).all()
    good &= graph.masses.max() <= 1e8 and graph.bonds.max(initial=-1) < graph.n_atoms
    if not good:
        raise AssertionError(f"nonsense: {graph.masses.max()} {graph.bonds}")


def named(path: Path) -> None:
    """Names of atoms and bonds, which are no elements."""
    read_topology(path, chemistry=Chemistry({"C": Row("C")}))


def atoms_and_frame(path: Path) -> None:
    topology(path)
    frames(path)


def beads(path: Path) -> None:
    systems = read_reference(path) if path.suffix == ".npz" else [read_beads(path)]
    for found in systems:
        sane(found.positions, found.times, found.box)
        if found.first_atoms is not None:
            sane(found.first_atoms, np.zeros(1), None)
        for values in found.observables.values():
            sane(values, np.zeros(1), None)


def model_of(path: Path) -> None:
    from cgml.models.file import load_model

    load_model(path)


def checkpoint_of(path: Path) -> None:
    from cgml.training.checkpoint import read_checkpoint

    read_checkpoint(path)


def masses_of(path: Path) -> None:
    masses = read_masses(path)
    if not (masses >= 0.0).all() or masses.max() > 1e8:
        raise AssertionError(f"nonsense: {masses}")


def config_of(path: Path) -> None:
    from cgml.training.config import TrainingConfig

    TrainingConfig.from_toml(path)


def types(path: Path) -> None:
    for row in read_types(path).values():
        if row.mass is not None and not 0.0 < row.mass <= 1e8:
            raise AssertionError(f"nonsense: {row}")


def assigned(path: Path) -> None:
    mapping = read_mapping(path, GRAPH)
    if mapping.n_beads > N or not (mapping.graph.masses > 0.0).all():
        raise AssertionError(f"nonsense: {mapping.bead_index}")


def predicted(path: Path) -> None:
    for found in predictions.load(path):
        found.take(found.subjects)


def followed(path: Path) -> None:
    """A part is the one that was written, or no part."""
    with path.open("rb") as stream:
        good = path.with_suffix(".good")
        if not good.exists():
            good.write_bytes(stream.read())
    kept, _ = keep_sound([path], LAYOUT)
    written = read_arrays(good)
    numbers = written.keys() - {DIGEST, BEFORE}  # older versions wrote none
    if kept and any((read_arrays(path)[key] != written[key]).any() for key in numbers):
        raise AssertionError("a part that was changed is taken")


def finished(path: Path) -> None:
    from cgml.runs.plan import claim

    asked = PLAN | {"conditions": CONDITIONS}
    groups, tally = claim(path.parent, asked, [range(2)], path)
    good = groups == [range(2)] and (tally is None or set(tally.files) >= set())
    if not good:
        raise AssertionError(f"nonsense: {groups} {tally}")


class Kind:
    """A kind of files: how a good one is made and read, and how it is damaged."""

    def __init__(
        self,
        suffix: str,
        make: Callable[[Path], object],
        take: Callable[[Path], object],
        how: str = "bytes",
        name: str = "case",
    ) -> None:
        self.name, self.make, self.take, self.how = name + suffix, make, take, how


KINDS = {
    "dcd": Kind(".dcd", lambda p: binary(dcd.Writer(p, N, BOX), p), frames),
    "xtc": Kind(".xtc", lambda p: binary(gromacs.Writer(p, BOX), p), frames),
    "dump": Kind(".dump", dump, frames, "text"),
    "data": Kind(".data", data, atoms_and_frame, "text"),
    "top": Kind(".top", top, topology, "text"),
    "gro": Kind(".gro", gro, topology, "text"),
    "pdb": Kind(".pdb", pdb, atoms_and_frame, "text"),
    "npz": Kind(".npz", lambda p: write_chains(p, 1, N_FRAMES, 0), beads, "zip"),
    "h5md": Kind(".h5md", h5md, beads, "hdf5"),
    "model": Kind(".pt", model, model_of, "zip"),
    "checkpoint": Kind(".ckpt", checkpoint, checkpoint_of, "zip"),
    "types": Kind(".toml", lambda p: p.write_text(TYPES), types, "text"),
    "config": Kind(".toml", lambda p: p.write_text(CONFIG), config_of, "text"),
    "csv": Kind(".csv", lambda p: p.write_text("C1,C,12.0\nH,,1.0\n"), types, "text"),
    "xml": Kind(".xml", lambda p: p.write_text(SYSTEM), masses_of, "text"),
    "gz": Kind(".dump.gz", packed, frames),
    "trr": Kind(".trr", trr, frames),
    "sdf": Kind(".sdf", sdf, topology, "text"),
    "mol2": Kind(".mol2", mol2, topology, "text"),
    "plan": Kind(".json", plan, finished, "text", name="run"),
    "psf": Kind(".psf", psf, topology, "text"),
    "prmtop": Kind(".prmtop", prmtop, topology, "text"),
    "cif": Kind(".cif", of_mdtraj, frames, "text"),
    "netcdf": Kind(".nc", of_mdtraj, frames),
    "restart": Kind(".rst7", of_mdtraj, frames, "text"),
    "ncrst": Kind(".ncrst", of_mdtraj, frames),
    "hdf5": Kind(".h5", hdf5, atoms_and_frame, "hdf5"),
    "hoomd": Kind(".hoomdxml", hoomd, named, "text"),
    "arc": Kind(".arc", arc, named, "text"),
    "beads": Kind(".toml", lambda p: p.write_text(BEADS), assigned, "text"),
    "mapping": Kind(".json", mapping, assigned, "text"),
    "baselines": Kind(
        ".json", lambda p: p.write_text(json.dumps(BASELINES)), predicted, "text"
    ),
    "part": Kind(".npz", part, followed, "zip", name="000000000"),
}


# --- damage

WORDS = (
    *("nan", "inf", "-inf", "-1", "0", "1e400", "1e30", "1e-300", "1e9", "2147483648"),
    *("99999999999", "9" * 30, "-0", "0x10", "1_000", "٣", "", "abc", "1.5", "[", '"'),
    *("{}", "null", "true", "ITEM: ATOMS", "#include", "\0", "é", "\t", "A" * 5000),
)
NUMBERS = [
    *(struct.pack(order + "i", n) for order in "<>" for n in (-1, 0, 2**31 - 1, 10**6)),
    *(struct.pack(order + "q", n) for order in "<>" for n in (-1, 2**62, 10**9)),
    *(
        struct.pack(order + kind, x)
        for order in "<>"
        for kind in "fd"
        for x in (float("nan"), float("inf"), 1e30, -1e-30, 0.0)
    ),
]


def in_bytes(content: bytes, stream: random.Random) -> bytes:  # noqa: PLR0911
    """Cut, flip, overwrite, insert, delete, repeat; most places near the beginning."""
    n = len(content)
    place = int(n * stream.random() ** stream.choice((1, 4)))
    span = stream.choice((1, 2, 4, 8, 64, 1000))
    some = content[place : place + span]
    kind = stream.randrange(7)
    if kind == 0:
        return content[:place]
    if kind == 1:
        changed = bytearray(content)
        for _ in range(stream.choice((1, 1, 2, 8))):
            changed[min(place, n - 1)] ^= 1 << stream.randrange(8)
            place = stream.randrange(n)
        return bytes(changed)
    if kind in {2, 3}:
        number = stream.choice(NUMBERS)
        place -= place % stream.choice((1, 4))
        return content[:place] + number + content[place + len(number) :]
    if kind == 4:
        return content[:place] + stream.randbytes(span) + content[place:]
    return content[:place] + some * (2 * (kind == 5)) + content[place + span :]


def in_text(content: bytes, stream: random.Random) -> bytes:
    """Exchange words and lines, or damage bytes."""
    if stream.random() < 0.3:
        return in_bytes(content, stream)
    text = content.decode(errors="surrogateescape")
    if stream.random() < 0.6:
        words = list(re.finditer(r"[^\s,:=\[\]{}]+", text))
        if not words:
            return content
        found = stream.choice(words)
        word = stream.choice((*WORDS, stream.choice(words)[0]))
        text = text[: found.start()] + word + text[found.end() :]
    else:
        lines = text.splitlines(keepends=True)
        one, other = (stream.randrange(len(lines)) for _ in range(2))
        kind = stream.randrange(4)
        if kind == 0:
            del lines[one]
        elif kind == 1:
            lines[one], lines[other] = lines[other], lines[one]
        elif kind == 2:
            lines[one] *= stream.choice((2, 3, 1000))
        else:
            lines[one] = lines[one][: stream.randrange(len(lines[one]) + 1)]
        text = "".join(lines)
    return text.encode(errors="surrogateescape")


def in_zip(content: bytes, stream: random.Random) -> bytes:
    """Damage an entry and write its checksum anew, or damage the archive."""
    if stream.random() < 0.4:
        return in_bytes(content, stream)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    name = stream.choice(sorted(entries))
    kind = stream.randrange(8)
    if kind == 0:
        del entries[name]
    elif kind == 1:
        entries[name] = entries[stream.choice(sorted(entries))]
    else:
        change = in_text if entries[name][:1] in b"{[" else in_bytes
        entries[name] = change(entries[name], stream)
    target = io.BytesIO()
    how = zipfile.ZIP_DEFLATED if kind == 2 else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w", how) as archive:
        for key, value in entries.items():
            archive.writestr(key, value)
    return target.getvalue()


def in_hdf5(content: bytes, stream: random.Random) -> bytes:
    """Change a dataset or an attribute, or damage bytes."""
    if stream.random() < 0.5:
        return in_bytes(content, stream)
    target = io.BytesIO(content)
    with h5py.File(target, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = stream.choice(names)
        item = file[name]
        if item.attrs and stream.random() < 0.4:
            key = stream.choice(sorted(item.attrs))
            item.attrs[key] = stream.choice((-1, 10**9, np.nan, "text", b"\0", [1, 2]))
            return _closed(file, target)
        wrong: list[Any] = [np.nan, "text", [1, 2], np.zeros((2, 3)), 1e300, "{}", "[]"]
        if isinstance(item, h5py.Dataset):
            values = item[()]
            if isinstance(values, np.ndarray) and values.dtype.kind in "fi":
                wrong += [values[:1], values[..., None], -values, values * 1e12]
                wrong += [values.astype("c8"), values.astype("S3"), values[:0]]
                wrong += [np.nan * values, np.concatenate([values, values])]
            elif isinstance(values, bytes):
                wrong += [in_text(values, stream).replace(b"\0", b"")] * 12
        del file[name]
        if stream.random() < 0.9:
            file[name] = stream.choice(wrong)
        return _closed(file, target)


def _closed(file: h5py.File, target: io.BytesIO) -> bytes:
    file.close()
    return target.getvalue()


DAMAGE = {"bytes": in_bytes, "text": in_text, "zip": in_zip, "hdf5": in_hdf5}
FORESEEN = (ValueError, FileNotFoundError)


def fault(kind: Kind, path: Path) -> str:
    """Read a damaged file; say what is wrong with what comes of it, or nothing."""
    try:
        kind.take(path)
    except FORESEEN as error:
        text = str(error)
        if path.name not in text and str(path.parent) not in text:
            return f"no name: {type(error).__name__}: {text[:300]}"
        if ("\n" in text and kind.name != KINDS["config"].name) or len(text) > 4000:
            return f"no line: {text[:300]}"
    except BaseException as error:  # noqa: BLE001 (whatever it is, it is a fault)
        return f"{type(error).__name__}: {str(error)[:300]}"
    return ""


def cases(folder: Path, first: int, names: list[str]) -> Iterator[tuple[str, int, str]]:
    """Damage and read files without end, all formats in turn."""
    good = {}
    for name in names:
        kind = KINDS[name]
        kind.make(folder / kind.name)
        good[name] = (folder / kind.name).read_bytes()
        wrong = fault(kind, folder / kind.name)
        if wrong:
            raise RuntimeError(f"a good {name} is refused: {wrong}")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY,) * 2)
    signal.signal(signal.SIGALRM, _late)
    seed = first
    while True:
        for name in names:
            kind, stream = KINDS[name], random.Random(f"{name} {seed}")
            content = good[name]
            for turn in range(stream.choice((1, 1, 2, 4))):
                damage = in_bytes if turn else DAMAGE[kind.how]
                try:
                    content = damage(content, stream) or b"x"
                except (ValueError, OSError, TypeError):  # HDF5 writes no such thing
                    content = in_bytes(content, stream) or b"x"
            (folder / kind.name).write_bytes(content)
            (folder / "seed").write_text(f"{name} {seed}")
            signal.alarm(SECONDS)
            wrong = fault(kind, folder / kind.name)
            signal.alarm(0)
            yield name, seed, wrong
        seed += 1


def _late(*_: object) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


def say(what: object) -> None:
    """Print a line at once."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main(folder: str, seconds: str, first: str = "0", *names: str) -> None:
    """Print what goes wrong, and at last how many cases there were."""
    warnings.simplefilter("ignore")
    logging.disable()
    counts: dict[str, int] = {}
    end = 0.0
    for name, seed, wrong in cases(Path(folder), int(first), list(names or KINDS)):
        end = end or time.monotonic() + float(seconds)  # from the first case on
        counts[name] = counts.get(name, 0) + 1
        if wrong:
            say([name, seed, wrong])
        if time.monotonic() > end and len(counts) == len(names or KINDS):
            break
    say(counts)


if __name__ == "__main__":
    main(*sys.argv[1:])
