"""A molecule told by every engine and format: the same types, masses, bonds."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import mdtraj
import numpy as np
import openmm
import pytest
from ase import Atoms
from core_systems import idle_model
from openmm import app, unit

from ase_cgml import graph_from_atoms
from cgml.formats.topology import from_mdtraj
from cgml.formats.trajectory import read_topology
from cgml.models.file import read_spec
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.recipe import Recipe
from cgml.network.model import LearnedModel
from openmm_cgml import LearnedCGIntegrator, bead_simulation, convert

UNITED = {"CH3": 15.035, "CH2": 14.027}
MASSES = {"C": 12.011, "H": 1.008, "O": 15.9994, **UNITED}
NUMBERS = {"C": 6, "H": 1, "O": 8}


class Molecule:
    """Two copies of a molecule, with the names that atoms have in its force field."""

    def __init__(self, types: str, bonds: list[tuple[int, int]], names: str) -> None:
        self.one, self.names = types.split(), names.split() * 2
        self.types = self.one * 2
        n = len(self.one)
        self.own_bonds = bonds
        self.bonds = [(i + k, j + k) for k in (0, n) for i, j in bonds]
        self.masses = [MASSES[kind] for kind in self.types]
        self.symbols = [kind[0] for kind in self.types]
        self.positions = 0.15 * np.arange(3 * len(self.types)).reshape(-1, 3)  # nm
        self.is_united = not UNITED.keys().isdisjoint(self.types)


GLYME = Molecule("CH3 O CH2 CH2 O CH3", [(i, i + 1) for i in range(5)], "A B C D E F")
ETHANOL = Molecule(
    "C C O H H H H H H",
    [(0, 1), (1, 2), (0, 3), (0, 4), (0, 5), (1, 6), (1, 7), (2, 8)],
    "C1 C2 O1 HA HB HC HG2 HD1 HO",
)


def openmm_topology(molecule: Molecule) -> app.Topology:
    topology = app.Topology()
    n = len(molecule.one)
    for i, (name, symbol) in enumerate(
        zip(molecule.names, molecule.symbols, strict=True)
    ):
        if i % n == 0:
            residue = topology.addResidue("MOL", topology.addChain())
        topology.addAtom(name, app.Element.getBySymbol(symbol), residue)
    atoms = list(topology.atoms())
    for i, j in molecule.bonds:
        topology.addBond(atoms[i], atoms[j])
    return topology


def openmm_system(molecule: Molecule) -> openmm.System:
    system = openmm.System()
    for mass in molecule.masses:
        system.addParticle(mass)
    return system


def from_openmm(molecule: Molecule, folder: Path) -> MolecularGraph:
    return convert.graph_from_topology(
        openmm_topology(molecule), {}, openmm_system(molecule)
    )


def from_openmm_files(molecule: Molecule, folder: Path) -> MolecularGraph:
    (folder / "system.xml").write_text(
        openmm.XmlSerializer.serialize(openmm_system(molecule))
    )
    with (folder / "a.pdb").open("w") as stream:
        app.PDBFile.writeFile(
            openmm_topology(molecule), molecule.positions * unit.nanometer, stream
        )
    return read_topology(folder / "a.pdb", system=folder / "system.xml")


def from_ase(molecule: Molecule, folder: Path) -> MolecularGraph:
    n = len(molecule.types)
    atoms = Atoms(molecule.symbols, 10.0 * molecule.positions, masses=molecule.masses)
    atoms.arrays["id"] = np.arange(1, n + 1)
    texts = [
        ",".join(f"{b}(1)" for a, b in molecule.bonds if a == i) or "_"
        for i in range(n)
    ]
    atoms.arrays["bonds"] = np.array(texts)
    spec = SimpleNamespace(name="none", particle_types={}, bond_types=["bond"])
    return graph_from_atoms(atoms, spec)  # type: ignore[arg-type]


def from_mdtraj_topology(molecule: Molecule, folder: Path) -> MolecularGraph:
    topology = mdtraj.Topology()
    n = len(molecule.one)
    for i, kind in enumerate(molecule.types):
        if i % n == 0:
            residue = topology.add_residue("MOL", topology.add_chain())
        is_element = kind not in UNITED
        element = mdtraj.element.get_by_symbol(kind if is_element else "VS")
        topology.add_atom(molecule.names[i] if is_element else kind, element, residue)
    for i, j in molecule.bonds:
        topology.add_bond(topology.atom(i), topology.atom(j))
    return from_mdtraj(topology, UNITED if molecule.is_united else None)


def from_lammps(
    molecule: Molecule, folder: Path, *, has_labels: bool = False
) -> MolecularGraph:
    kinds = list(dict.fromkeys(molecule.types))
    n = len(molecule.one)
    masses = "\n".join(f"{i} {MASSES[k]} # {k}" for i, k in enumerate(kinds, 1))
    rows = "\n".join(
        f"{i + 1} {i // n + 1} {kinds.index(kind) + 1} {x} {y} {z}"
        for i, (kind, (x, y, z)) in enumerate(
            zip(molecule.types, (10.0 * molecule.positions).tolist(), strict=True)
        )
    )
    bonds = "\n".join(
        f"{k} 1 {i + 1} {j + 1}" for k, (i, j) in enumerate(molecule.bonds, 1)
    )
    more = ""
    if has_labels:  # in place of numbers and comments, as write_data has them
        masses = "\n".join(f"{k} {MASSES[k]}" for k in kinds)
        rows = "\n".join(
            " ".join([*words[:2], kinds[int(words[2]) - 1], *words[3:]])
            for words in (row.split() for row in rows.splitlines())
        )
        bonds = bonds.replace(" 1 ", " X-Y ", 1)
        labels = "\n".join(f"{i} {k}" for i, k in enumerate(kinds, 1))
        more = f"Atom Type Labels\n\n{labels}\n\nBond Type Labels\n\n1 X-Y\n\n"
    box = "\n".join(f"0 99 {a}lo {a}hi" for a in "xyz")
    (folder / "a.data").write_text(
        f"title\n\n{2 * n} atoms\n{len(molecule.bonds)} bonds\n"
        f"{len(kinds)} atom types\n{box}\n\n{more}Masses\n\n{masses}\n\n"
        f"Atoms # bond\n\n{rows}\n\nBonds\n\n{bonds}\n"
    )
    return read_topology(folder / "a.data")


def from_lammps_labels(molecule: Molecule, folder: Path) -> MolecularGraph:
    return from_lammps(molecule, folder, has_labels=True)


def from_sdf(molecule: Molecule, folder: Path) -> MolecularGraph:
    """Two molecules in one file; united atoms take masses from the System."""
    n, text = len(molecule.one), ""
    for places in np.split(10.0 * molecule.positions, 2):
        text += f"two words\n  made by hand\n\n{n:3d}{len(molecule.own_bonds):3d}"
        text += "  0  0  0  0            999 V2000\n"
        for symbol, (x, y, z) in zip(molecule.symbols, places, strict=False):
            text += f"{x:10.4f}{y:10.4f}{z:10.4f} {symbol:3s} 0  0  0  0\n"
        for i, j in molecule.own_bonds:
            text += f"{i + 1:3d}{j + 1:3d}  1  0\n"
        text += "M  END\n> <note>\nnothing\n\n$$$$\n"
    (folder / "a.sdf").write_text(text)
    (folder / "s.xml").write_text(
        openmm.XmlSerializer.serialize(openmm_system(molecule))
    )
    system = folder / "s.xml" if molecule.is_united else None
    return read_topology(folder / "a.sdf", system=system)


def from_gromacs(molecule: Molecule, folder: Path) -> MolecularGraph:
    """Types opls_1 ..., some masses in atomtypes only, a rigid bond, two files."""
    kinds = list(dict.fromkeys(molecule.types))
    types = "\n".join(
        f" opls_{i} {k[0]}X {NUMBERS[k[0]]} {MASSES[k]} 0.1 A 0.3 0.2 ; {k}"
        for i, k in enumerate(kinds)
    )
    atoms = "\n".join(
        f"{i} opls_{kinds.index(k)} 1 MOL {name} 1 0.1 {MASSES[k] if i % 2 else ''}"
        for i, (k, name) in enumerate(
            zip(molecule.one, molecule.names, strict=False), 1
        )
    )
    pairs = [f"{i + 1} {j + 1} 1" for i, j in molecule.own_bonds]
    (folder / "mol.itp").write_text(
        f"[ moleculetype ]\nMOL 3\n[ atoms ]\n{atoms}\n[ bonds ]\n"
        + "\n".join(pairs[1:])
        + "\n1 3 6 0.3 10 ; only restrains\n#ifdef SOFT\n1 4 1\n#else\n"
        f"[ constraints ]\n{pairs[0]} 0.1\n#endif\n[ angles ]\n1 2 3 1\n"
    )
    (folder / "a.top").write_text(
        f"; a comment\n#define HARD\n[ defaults ]\n1 2\n[ atomtypes ]\n{types}\n"
        '#include "mol.itp"\n#ifdef HARD\n[ system ]\ntwo\n#endif\n'
        "[ molecules ]\nMOL 2\n"
    )
    return read_topology(folder / "a.top")


def from_psf(molecule: Molecule, folder: Path) -> MolecularGraph:
    n = len(molecule.one)
    atoms = "\n".join(
        f"{i + 1:8d} S {i // n + 1:5d} MOL  {name:4s} {kind:4s} 0.000000 "
        f"{MASSES[kind]:13.4f}           0"
        for i, (name, kind) in enumerate(
            zip(molecule.names, molecule.types, strict=True)
        )
    )
    ends = "".join(f"{i + 1:8d}{j + 1:8d}" for i, j in molecule.bonds)
    (folder / "a.psf").write_text(
        f"PSF\n\n       1 !NTITLE\n REMARKS\n\n{2 * n:8d} !NATOM\n{atoms}\n\n"
        f"{len(molecule.bonds):8d} !NBOND: bonds\n{ends}\n\n"
    )
    return read_topology(folder / "a.psf")


SOURCES = [
    *(from_openmm, from_openmm_files, from_ase, from_mdtraj_topology),
    *(from_lammps, from_lammps_labels, from_gromacs, from_psf, from_sdf),
]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("molecule", [GLYME, ETHANOL], ids=["united", "all"])
def test_the_same_from_everywhere(
    tmp_path: Path,
    molecule: Molecule,
    source: Callable[[Molecule, Path], MolecularGraph],
) -> None:
    graph = source(molecule, tmp_path)
    assert list(graph.types) == molecule.types
    np.testing.assert_allclose(graph.masses, molecule.masses, atol=1e-3)
    expected = MolecularGraph.create(graph.types, graph.masses, molecule.bonds)
    assert graph.hash() == expected.hash()
    reference = from_openmm(molecule, tmp_path)
    assert graph.masses.tolist() == reference.masses.tolist()
    recipe = Recipe(3)
    mapping = Mapping.from_recipe(graph, recipe)
    assert mapping.bead_index.tolist() == (
        Mapping.from_recipe(reference, recipe).bead_index.tolist()
    )


def test_pdb_of_united_atoms_takes_the_mass_of_the_user(tmp_path: Path) -> None:
    """OpenMM writes element C for them; their names say what they are."""
    molecule = Molecule("CH3 O CH2 CH2 O CH3", GLYME.own_bonds, "CH3 O1 CH2 CH2 O2 CH3")
    path = tmp_path / "a.pdb"
    with path.open("w") as stream:
        app.PDBFile.writeFile(
            openmm_topology(molecule), molecule.positions * unit.nanometer, stream
        )
    with pytest.raises(ValueError, match=r"MOL:CH3 is C by its element, a united atom"):
        read_topology(path)
    graph = read_topology(path, masses={"CH3": 15.035, "CH2": 14.027})
    assert list(graph.types) == molecule.types
    assert graph.masses[2] == 14.027
    with pytest.raises(ValueError, match=r"nothing is called 'CH1'.* MOL:CH3, CH3"):
        read_topology(path, masses={"CH3": 15.0, "CH2": 14.0, "CH1": 13.0})


def test_openmm_topology_of_united_atoms_needs_its_system() -> None:
    molecule = Molecule("CH3 CH2", [(0, 1)], "CH3 CH2")
    topology = openmm_topology(molecule)
    with pytest.raises(ValueError, match="a united atom by its name"):
        convert.graph_from_topology(topology, {})
    short = openmm.System()
    short.addParticle(15.0)
    with pytest.raises(ValueError, match="it has 4 atoms, the System 1 particles"):
        convert.graph_from_topology(topology, {}, short)


def test_repartitioned_hydrogens_are_hydrogens() -> None:
    topology, system = openmm_topology(ETHANOL), openmm_system(ETHANOL)
    for i, j in ETHANOL.bonds:
        if ETHANOL.types[j] == "H":
            heavy, light = system.getParticleMass(i), system.getParticleMass(j)
            system.setParticleMass(i, heavy - 2.0 * light)
            system.setParticleMass(j, 3.0 * light)
    graph = convert.graph_from_topology(topology, {}, system)
    assert graph.hash() == from_openmm(ETHANOL, Path()).hash()


def united_model(tiny_model: Path) -> LearnedModel:
    masses = {"CH3": 15.035, "CH2": 14.027, "O": 15.999}
    spec = read_spec(tiny_model).model_copy(update={"particle_types": masses})
    return LearnedModel(spec, idle_model(spec))


@pytest.mark.parametrize("names", ["CH3 O CH2 CH2 O CH3", "CH3 O CH3"])
@pytest.mark.parametrize("is_by_mass", [False, True])
def test_integrator_takes_united_atoms_from_the_system(
    tiny_model: Path, names: str, is_by_mass: bool
) -> None:
    """OpenMM's readers of PSF files call CH2 nitrogen and CH3 oxygen."""
    molecule = Molecule(
        names, [(i, i + 1) for i in range(len(names.split()) - 1)], names
    )
    if is_by_mass:
        elements = [app.Element.getByMass(mass) for mass in molecule.masses]
        molecule.symbols = [element.symbol for element in elements]
    topology, system = openmm_topology(molecule), openmm_system(molecule)
    integrator = LearnedCGIntegrator(united_model(tiny_model), topology=topology)
    simulation = app.Simulation(
        topology, system, integrator, openmm.Platform.getPlatformByName("Reference")
    )
    simulation.context.setPositions(molecule.positions)
    assert list(integrator.getMapping().graph.types) == molecule.types


def test_beads_of_united_atoms(tiny_model: Path) -> None:
    model, topology = united_model(tiny_model), openmm_topology(GLYME)
    with pytest.raises(ValueError, match="types and masses are required"):
        bead_simulation(model, topology, GLYME.positions)
    system = openmm_system(GLYME)
    beads = bead_simulation(model, topology, GLYME.positions, system=system)
    total = sum(
        beads.system.getParticleMass(i)._value
        for i in range(beads.system.getNumParticles())
    )
    assert total == pytest.approx(sum(GLYME.masses), abs=0.01)


def test_a_graph_of_other_atoms_is_told_by_the_masses_of_the_system(
    tiny_model: Path,
) -> None:
    model, system = united_model(tiny_model), openmm_system(GLYME)
    graph = from_openmm(GLYME, Path())
    integrator = LearnedCGIntegrator(model, topology=graph)
    openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    assert integrator.getMapping().graph.hash() == graph.hash()
    system.setParticleMass(2, 15.035)
    with pytest.raises(ValueError, match=r"2 \(CH2\) has 14\.027 .* 15\.035 Da in the"):
        openmm.Context(system, LearnedCGIntegrator(model, topology=graph))
