"""`cgml run --atoms`: the atoms beside the beads."""

import json
from dataclasses import replace

import mdtraj
import numpy as np
import pytest
from core_systems import idle_model, small_spec
from openmm import app

from cgml.dynamics.passengers import Passengers, resolve_mapping
from cgml.dynamics.propagator import Propagator
from cgml.formats.trajectory import read_beads, read_reference
from cgml.models.file import load_model, save_model
from cgml.molecules.carriage import Carriage
from cgml.molecules.frames import BeadTrajectory
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.united import as_known
from cgml.runs import simulation
from cgml.runs.plan import RunOptions
from cgml.spec import Rotation

STEP = 20.0  # ps, of the tiny model


def options(**changes) -> RunOptions:
    values = {"n_steps": 6, "n_part": 2, "guard": "record", "atoms": True}
    return RunOptions(**values | changes)


def angstroms(path) -> np.ndarray:
    with mdtraj.formats.DCDTrajectoryFile(str(path)) as file:
        return file.read()[0]


def test_atoms_are_those_carried_with_the_beads(cgml, tiny_model, chains, tmp_path):
    result = cgml(
        *("run", tiny_model, chains, "--time", 4 * STEP, "--output", tmp_path),
        *("--guard", "record", "--format", "dcd", "--replicas", 2, "--atoms"),
    )
    assert result.exit_code == 0, result.output
    for system in read_reference(chains):
        for copy in range(2):
            beads = angstroms(tmp_path / f"{system.name}_r{copy}.dcd") / 10.0
            atoms = angstroms(tmp_path / f"{system.name}_r{copy}_atoms.dcd") / 10.0
            assert len(atoms) == len(beads) == 4
            centres = system.mapping.positions(atoms)
            np.testing.assert_allclose(centres, beads, atol=1e-4)
            carriage = Carriage(system.mapping, system.first_atoms)
            expected = carriage.place(beads[0].astype(float))  # rounded to 1e-6 nm
            np.testing.assert_allclose(atoms[0], expected, atol=1e-3)
    assert {"pair_001_r0_atoms.dcd"} <= set(
        json.loads((tmp_path / "run.json").read_text())["files"]
    )


def ether(folder) -> MolecularGraph:
    """Files of all atoms of CH3-CH2-O-CH2-CH3, a.pdb and a.xtc."""
    bonds = [[0, 1], [1, 2], [2, 3], [3, 4]]
    heavy = np.repeat([0, 1, 3, 4], [3, 2, 2, 3])
    bonds += [[int(i), 5 + k] for k, i in enumerate(heavy)]
    masses = [12.011, 12.011, 15.999, 12.011, 12.011, *[1.008] * 10]
    graph = MolecularGraph.create("CCOCC" + "H" * 10, masses, bonds)
    generator = np.random.default_rng(0)
    places = np.cumsum(np.full((5, 3), 0.08), axis=0)
    start = np.concatenate(
        (places, places[heavy] + 0.05 * generator.normal(size=(10, 3)))
    )
    topology = app.Topology()
    residue = topology.addResidue("PEO", topology.addChain())
    added = [
        topology.addAtom(f"{name}{k}", app.Element.getBySymbol(name), residue)
        for k, name in enumerate(graph.types)
    ]
    for i, j in bonds:
        topology.addBond(added[i], added[j])
    with (folder / "a.pdb").open("w") as stream:
        app.PDBFile.writeFile(topology, 10.0 * start, stream)
    with mdtraj.formats.XTCTrajectoryFile(str(folder / "a.xtc"), "w") as file:
        file.write(start[None].astype(np.float32))
    return graph


def test_all_atoms_of_a_model_of_united_atoms(cgml, tmp_path):
    """Hydrogens go with the beads of their united atoms, as in the engines."""
    graph = ether(tmp_path)
    known = {"CH3": 15.035, "CH2": 14.027, "O": 15.999}
    changes = {"particle_types": known, "bond_types": ["bond"], "atoms_per_bead": 3.0}
    spec = small_spec(**changes)
    save_model(tmp_path / "model.pt", spec, idle_model(spec))
    line = ("run", tmp_path / "model.pt", tmp_path / "a.xtc", "--time", 2 * STEP)
    line += ("--topology", tmp_path / "a.pdb", "--output", tmp_path / "run", "--atoms")
    result = cgml(*line, "--guard", "record")
    assert result.exit_code == 0, result.output
    assert "10 hydrogens are joined with their heavy atoms" in " ".join(
        result.output.split()
    )
    beads = angstroms(tmp_path / "run" / "a_r0.dcd") / 10.0
    atoms = angstroms(tmp_path / "run" / "a_r0_atoms.dcd") / 10.0
    mapping = resolve_mapping(graph, spec)
    assert atoms.shape == (2, 15, 3)
    np.testing.assert_allclose(mapping.positions(atoms), beads, atol=1e-4)
    propagator = Propagator(
        load_model(tmp_path / "model.pt"), as_known(mapping, known), guard="record"
    )
    passengers = Passengers(propagator, 15, mapping=mapping)
    with mdtraj.formats.XTCTrajectoryFile(str(tmp_path / "a.xtc")) as file:
        state = passengers.start(file.read()[0][0])  # rounded to 0.001 nm
    for frame in beads:
        state = propagator.step(state)
        np.testing.assert_allclose(state.positions, frame, atol=1e-4)


def test_molecules_of_one_bead_turn_as_in_the_engines(tiny_model, tmp_path):
    """Seed, replica and step say how: every frame is that of an engine's step."""
    old = load_model(tiny_model)
    rows = [Rotation(atoms={"A": 1, "B": 2}, time=3.0 * STEP)]
    spec = old.spec.model_copy(update={"rotation": rows})
    save_model(tmp_path / "model.pt", spec, old.module)
    graph = MolecularGraph.create(
        "ABBABB", np.ones(6), [[0, 1], [0, 2], [3, 4], [3, 5]]
    )
    mapping = Mapping.from_labels(graph, [0, 0, 0, 1, 1, 1])
    atoms = np.random.default_rng(0).normal(size=(6, 3))
    beads = mapping.positions(atoms)[None].astype(np.float32)
    first = atoms.astype(np.float32)
    start = BeadTrajectory(mapping, beads, np.zeros(1), name="two", first_atoms=first)
    run = options(n_replicas=2, seed=5, stride=2, unseen="allow")
    simulation.run(tmp_path / "model.pt", [start], tmp_path / "run", run)
    for number in range(2):
        propagator = Propagator(
            load_model(tmp_path / "model.pt"),
            mapping,
            seed=5,
            replica_ids=[number],
            guard="record",
            unseen="allow",
        )
        passengers = Passengers(propagator, 6)
        state, reference = passengers.start(first), passengers.reference(first)
        written = angstroms(tmp_path / "run" / f"two_r{number}_atoms.dcd") / 10.0
        for frame in written:
            state = propagator.step(propagator.step(state))
            expected = passengers.place(state, reference)
            np.testing.assert_allclose(frame, expected, atol=1e-4)
    shape = np.linalg.norm(np.diff(written, axis=1), axis=2)
    np.testing.assert_allclose(shape[0, :2], shape[-1, :2], atol=1e-4)


def test_atoms_after_a_kill_are_the_same(tiny_model, chains, tmp_path):
    systems = read_reference(chains)
    broken, whole = tmp_path / "broken", tmp_path / "whole"

    def stop(n_frames: int) -> None:
        if n_frames >= 2 * 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulation.run(tiny_model, systems, broken, options(), stop)
    for folder in (broken, whole):
        simulation.run(tiny_model, systems, folder, options())
    for path in sorted(whole.glob("*_atoms.dcd")):
        assert path.read_bytes() == (broken / path.name).read_bytes()


def test_a_lost_file_of_atoms_is_told(tiny_model, chains, tmp_path):
    systems = read_reference(chains)
    simulation.run(tiny_model, systems, tmp_path, options())
    (tmp_path / f"{systems[0].name}_r0_atoms.dcd").unlink()
    with pytest.raises(ValueError, match=r"_r0_atoms.dcd there are missing"):
        simulation.run(tiny_model, systems, tmp_path, options())


def test_a_run_without_atoms_is_another_run(tiny_model, chains, tmp_path):
    systems = read_reference(chains)
    simulation.run(tiny_model, systems, tmp_path, options(atoms=False))
    with pytest.raises(ValueError, match="holds a run with atoms"):
        simulation.run(tiny_model, systems, tmp_path, options())


def test_beads_alone_have_no_atoms(tiny_model, chains, tmp_path):
    systems = read_reference(chains)
    path = simulation.run(
        tiny_model, systems, tmp_path, options(atoms=False, file_format="h5md")
    ).trajectories[0]
    with pytest.raises(ValueError, match=r"has beads alone: start from a trajectory"):
        simulation.run(tiny_model, [read_beads(path)], tmp_path / "again", options())


def test_a_format_of_beads_is_refused():
    with pytest.raises(ValueError, match=r"atoms are written as dcd or xtc.*'h5md'"):
        options(file_format="h5md")


def test_names_of_files_of_atoms_are_no_names_of_systems(tiny_model, chains, tmp_path):
    one, other = read_reference(chains)[:2]
    named = [replace(one, name="a"), replace(other, name="a_atoms")]
    with pytest.raises(ValueError, match="atoms of 'a' are written as a_atoms"):
        simulation.run(tiny_model, named, tmp_path, options())
    assert not list(tmp_path.iterdir())
