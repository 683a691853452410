"""A calibrated ensemble in both engines: what stops it, and who moves what."""

import numpy as np
import pytest
import torch
from ase.io import read
from ase_systems import NAMES, make_dynamics, path_of, read_chain
from openmm_systems import positions_of, simulate

from ase_cgml import CGMLDynamics
from cgml.calibration import Calibration
from cgml.dynamics.guards import GuardError
from cgml.models.ensemble import Ensemble
from cgml.models.file import load_model
from cgml.models.members import networks_of
from cgml.network.model import LearnedModel


@pytest.fixture
def ensemble(tiny_model) -> LearnedModel:
    """Two members, calibrated so that every molecule is beyond what they know."""
    first = load_model(tiny_model)
    other = networks_of(first.spec)
    other.load_state_dict(first.module.state_dict())
    for weight in other.parameters():
        weight.data.mul_(1.2)
    other.requires_grad_(requires_grad=False).eval()
    told = Calibration(n_molecules=10, typical=1e-9, largest=2e-9)
    spec = first.spec.with_members(2).model_copy(update={"calibration": told})
    return LearnedModel(spec, Ensemble([first.module, other]))


def test_openmm_stops_before_the_first_step(ensemble):
    simulation = simulate(ensemble, guard="raise")
    before = positions_of(simulation)
    with pytest.raises(GuardError, match="'extrapolation' stopped replica 0 at step 1"):
        simulation.step(1)
    assert np.array_equal(positions_of(simulation), before)
    counting = simulate(ensemble)
    counting.step(2)
    assert counting.integrator.getGuardCounts()["extrapolation"] == 1


def test_ase_stops_before_the_first_step(ensemble):
    atoms = read_chain()
    atoms.calc = CGMLDynamics(ensemble, type_names=NAMES)
    before = atoms.positions.copy()
    with pytest.raises(GuardError, match="'extrapolation' stopped replica 0 at step 1"):
        atoms.calc.dynamics(atoms).run(1)
    assert np.array_equal(atoms.positions, before)
    make_dynamics(ensemble).run(1)  # counts and goes on


def test_the_seed_chooses_the_member(ensemble):
    """Bit for bit the path of that member alone, with the same noise."""
    for seed in (0, 1):
        member = ensemble.members[seed]
        moved, alone = (simulate(model, seed=seed) for model in (ensemble, member))
        for simulation in (moved, alone):
            simulation.step(2)
        assert np.array_equal(positions_of(moved), positions_of(alone))
    one, other = (m.module.state_dict().values() for m in ensemble.members)
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    averaged = simulate(ensemble, ensemble="average")
    averaged.step(1)
    first = simulate(ensemble)
    first.step(1)
    assert not np.array_equal(positions_of(averaged), positions_of(first))


def test_in_ase_the_seed_chooses_the_member(ensemble, tmp_path):
    """Bit for bit that member's path and forces, after a restart as well."""
    for seed in (0, 1):
        member = ensemble.members[seed]
        file = tmp_path / f"{seed}.traj"
        moved = make_dynamics(ensemble, seed=seed, trajectory=file)
        path = path_of(moved, 4)
        assert np.array_equal(path, path_of(make_dynamics(member, seed=seed), 4))
        again = read(file, index=2)
        again.calc = CGMLDynamics(ensemble, type_names=NAMES, guard="record")
        again.calc.dynamics(again).run(2)
        assert np.array_equal(again.positions, path[-1])
        forces = [
            make_dynamics(model, beads=True, seed=seed).atoms.get_forces()
            for model in (ensemble, member)
        ]
        assert np.array_equal(*forces)


def test_in_ase_all_members_may_move_the_atoms(ensemble):
    """Another path than that of each, the same when it is run again."""
    paths = []
    for _ in range(2):
        atoms = read_chain()
        atoms.calc = CGMLDynamics(
            ensemble, type_names=NAMES, seed=0, guard="record", ensemble="average"
        )
        paths.append(path_of(atoms.calc.dynamics(atoms), 2))
    assert np.array_equal(*paths)
    for member in ensemble.members:
        alone = path_of(make_dynamics(member, seed=0), 2)
        assert not np.array_equal(paths[0], alone)
