"""Molecules that a model has not seen, on the command line and in the engines."""

import json
from dataclasses import replace

import numpy as np
import openmm
import pytest
from workflow_tools import write_chains

from ase_cgml import CGMLDynamics
from cgml.formats.arrays import read_reference
from cgml.formats.h5md import write_beads
from cgml.models.file import load_model, save_model
from cgml.network.model import LearnedModel
from cgml.spec import Seen
from openmm_cgml import LearnedCGIntegrator
from openmm_cgml.testsystems import copolymer_chain

SEEN = Seen(
    bead_atoms={"A": (0, 5), "B": (0, 5)}, bead_bonds=(1, 2), molecule_beads=(2, 3)
)


@pytest.fixture
def model(tiny_model, tmp_path):
    """The tiny model, which has seen chains of A and B of two or three beads."""
    found = load_model(tiny_model)
    spec = found.spec.model_copy(update={"seen": SEEN})
    save_model(tmp_path / "seen.pt", spec, found.module)
    assert load_model(tmp_path / "seen.pt").spec.seen == SEEN
    return tmp_path / "seen.pt"


@pytest.mark.parametrize("command", ["run", "evaluate"])
def test_commands_refuse_and_go_on_where_told(cgml, model, tmp_path, command):
    starts = write_chains(tmp_path / "a.npz", 1, 60, seed=1)
    names = [starts] if command == "run" else ["--reference", starts]
    line = [command, model, *names, "--time", 400, "--output", tmp_path / "out"]
    refused = cgml(*line)
    assert refused.exit_code == 1
    text = " ".join(refused.output.split())
    assert "has never seen bead" in text
    assert "it knows beads of 0 to 5 A, 0 to 5 B" in text
    assert "--allow-unseen" in text
    told = cgml(*line, "--allow-unseen")
    assert told.exit_code == 0, told.output
    text = " ".join(told.output.split())
    assert (
        "warning: model 'tiny' is used beyond what it has seen: allowed: bead" in text
    )
    assert "molecules of 4 beads, of 2 to 3" in text
    if command == "run":  # the folder remembers it, and goes on
        plan = json.loads((tmp_path / "out" / "run.json").read_text())["plan"]
        assert "allowed: bead 0" in plan["unseen"][0]
        assert cgml(*line, "--allow-unseen").exit_code == 0


@pytest.mark.parametrize("command", ["run", "evaluate"])
def test_a_box_is_refused_before_its_beads(cgml, model, tmp_path, command):
    """Which of several files, too."""
    item = read_reference(write_chains(tmp_path / "a.npz", 1, 60, seed=1))[0]
    path = tmp_path / "b.h5md"
    write_beads(path, replace(item, box=9.0 * np.eye(3), name="dense"))
    names = [path] if command == "run" else ["--reference", path]
    refused = cgml(command, model, *names, "--time", 400, "--output", tmp_path / "out")
    text = " ".join(refused.output.split())
    assert refused.exit_code == 1
    assert "was trained in open boundaries, the system has periodic boxes" in text
    assert "has never seen" not in text


def test_engines_refuse_and_go_on_where_told(model):
    found: LearnedModel = load_model(model)
    chain = copolymer_chain("AABBC" * 3)
    reference = openmm.Platform.getPlatform("Reference")

    def context(**options: str) -> openmm.Context:
        integrator = LearnedCGIntegrator(found, topology=chain.topology, **options)
        return openmm.Context(chain.system, integrator, reference)

    with pytest.raises(ValueError, match="never seen bead 0"):
        context()
    with pytest.warns(UserWarning, match="allowed: bead 0"):
        context(unseen="warn")
    context(unseen="allow")


def test_ase_refuses_and_goes_on_where_told(model):
    from ase import Atoms

    from cgml import MolecularGraph

    types = "AABBC" * 3
    graph = MolecularGraph.create(types, np.ones(15), [[i, i + 1] for i in range(14)])
    atoms = Atoms("X15", np.cumsum(np.ones((15, 3)), axis=0) * 6.0)
    atoms.calc = CGMLDynamics(model, topology=graph)
    with pytest.raises(ValueError, match="never seen bead 0"):
        atoms.calc.dynamics(atoms)
    atoms.calc = CGMLDynamics(model, topology=graph, unseen="warn")
    with pytest.warns(UserWarning, match="allowed: bead 0"):
        atoms.calc.dynamics(atoms)
