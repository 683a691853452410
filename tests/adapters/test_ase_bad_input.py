import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.constraints import FixAtoms
from ase_systems import N_ATOMS, NAMES, make_dynamics, read_chain

from ase_cgml import CGMLDynamics
from cgml.models.file import load_model
from cgml.network.model import LearnedModel


def changed(tiny_model, **update):
    model = load_model(tiny_model)
    return LearnedModel(model.spec.model_copy(update=update), model.module)


def start(atoms, model, *, timestep=None, **options):
    atoms.calc = CGMLDynamics(model, **{"type_names": NAMES, **options})
    return atoms.calc.dynamics(atoms, timestep=timestep)


@pytest.mark.parametrize(
    ("name", "call", "reason"),
    [
        ("energy", Atoms.get_potential_energy, "not a potential energy"),
        ("stress", Atoms.get_stress, "no virial"),
        ("dipole", Atoms.get_dipole_moment, "where beads go"),
    ],
)
def test_properties_are_refused_with_the_reason(tiny_model, name, call, reason):
    atoms = read_chain()
    atoms.calc = CGMLDynamics(tiny_model)
    with pytest.raises(
        PropertyNotImplementedError, match=f"gives no {name}: .*{reason}"
    ):
        call(atoms)


def test_mean_forces_act_on_beads(tiny_model):
    atoms = read_chain()
    atoms.calc = CGMLDynamics(tiny_model, type_names=NAMES)
    match = "act on beads, 20 of them, got Atoms of length 100: use bead_atoms"
    with pytest.raises(PropertyNotImplementedError, match=match):
        atoms.get_forces()


@pytest.mark.parametrize("topology", ["chain.pdb", [[0, 1]]])
def test_topology_of_another_kind(tiny_model, topology):
    """That of OpenMM, too, which has the same name."""
    match = "topology must be an mdtraj.Topology .of OpenMM: .*, got builtins"
    with pytest.raises(TypeError, match=match):
        start(read_chain(), tiny_model, topology=topology)


def test_unknown_particle_type(tiny_model):
    names = {**NAMES, 3: "Q"}
    with pytest.raises(
        ValueError, match=r"unknown particle type 'Q' \(atom 1\): .*A, B"
    ):
        start(read_chain(), tiny_model, type_names=names)


def test_lammps_type_without_a_name(tiny_model):
    with pytest.raises(ValueError, match="no name for type 4"):
        start(read_chain(), tiny_model, type_names={1: "A", 2: "B", 3: "C"})


def test_type_names_without_lammps_types(tiny_model):
    atoms = read_chain()
    del atoms.arrays["type"]
    with pytest.raises(ValueError, match='array "type" of the atoms, which have only'):
        start(atoms, tiny_model)


def test_masses_that_are_not_the_models(tiny_model):
    atoms = read_chain()
    atoms.set_masses(np.full(N_ATOMS, 12.0))
    with pytest.raises(ValueError, match=r"is 1 Da in model .* atom 0 has 12 Da"):
        start(atoms, tiny_model)


def test_no_bonds(tiny_model):
    atoms = read_chain()
    del atoms.arrays["bonds"]
    with pytest.raises(
        ValueError, match=r'bonds are required.*topology=.*bonds="guess"'
    ):
        start(atoms, tiny_model)


def test_nothing_to_guess(tiny_model):
    atoms = read_chain()
    del atoms.arrays["bonds"]
    with pytest.raises(ValueError, match="no bond can be guessed: pass topology="):
        start(atoms, tiny_model, bonds="guess")


def test_what_comes_of_a_guess_says_so(tiny_model):
    atoms = Atoms("OHH", [[0, 0, 0], [0, 0, 0.96], [0.93, 0, -0.24]])
    atoms.calc = CGMLDynamics(tiny_model, bonds="guess")
    match = r"unknown particle type 'O'.*is water.*bonds were guessed.*pass topology="
    with pytest.raises(ValueError, match=match):
        atoms.calc.dynamics(atoms)


@pytest.mark.parametrize("seed", ["3", 1.5, True, 2**64])
def test_seed_that_is_none(tiny_model, seed):
    with pytest.raises(ValueError, match=f"seed must be an integer.*, got {seed!r}"):
        CGMLDynamics(tiny_model, seed=seed)


def test_misspelt_guess(tiny_model):
    with pytest.raises(ValueError, match="bonds must be 'guess' or None, got 'gues'"):
        CGMLDynamics(tiny_model, bonds="gues")


def test_count_that_does_not_match(tiny_model):
    mapping = CGMLDynamics(tiny_model, type_names=NAMES).mapping(read_chain())
    with pytest.raises(ValueError, match=r"100 atoms or 20 beads .* got 33 particles"):
        start(read_chain()[:33], tiny_model, topology=mapping)


@pytest.mark.parametrize("beads", [False, True])
def test_positions_that_are_not_finite(tiny_model, beads):
    dynamics = make_dynamics(tiny_model, beads=beads)
    dynamics.atoms.positions[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"positions must be finite"):
        dynamics.run(1)


def test_box_for_an_open_boundary_model(tiny_model):
    atoms = read_chain()
    atoms.pbc = True
    with pytest.raises(ValueError, match=r"open boundaries.*\(atoms.pbc = False\)"):
        start(atoms, tiny_model)


def test_no_box_for_a_periodic_model(tiny_model):
    model = changed(tiny_model, periodic=True)
    with pytest.raises(ValueError, match=r"periodic boxes.*atoms.cell"):
        start(read_chain(), model)


def test_half_a_box(tiny_model):
    atoms = read_chain()
    atoms.pbc = [True, True, False]
    with pytest.raises(ValueError, match=r"all three directions or none, got .*False"):
        start(atoms, tiny_model)


def test_box_switched_on_between_runs(tiny_model):
    dynamics = make_dynamics(tiny_model)
    dynamics.atoms.pbc = True
    with pytest.raises(ValueError, match="open boundaries"):
        dynamics.run(1)


def test_time_step_that_is_not_the_models(tiny_model):
    with pytest.raises(ValueError, match=r"20 ps .* got 0\.002 ps"):
        start(read_chain(), tiny_model, timestep=2 * units.fs)
    start(read_chain(), tiny_model, timestep=20_000 * units.fs)


def test_constraints(tiny_model):
    dynamics = make_dynamics(tiny_model)
    dynamics.atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(ValueError, match=r"constraints, got FixAtoms.*set_constraint"):
        dynamics.run(1)
    with pytest.raises(ValueError, match="constraints"):
        start(dynamics.atoms, tiny_model)


def test_state_of_another_model(tiny_model):
    atoms = make_dynamics(tiny_model).atoms
    with pytest.raises(ValueError, match=r"5 ps.*state with 20 ps.* delete it"):
        start(atoms, changed(tiny_model, time_step=5.0))


def test_state_of_another_system(tiny_model):
    atoms = make_dynamics(tiny_model).atoms
    with pytest.raises(ValueError, match="other types, bonds or beads: delete it"):
        start(atoms, tiny_model, type_names={1: "B", 2: "A", 3: "C", 4: "D"})


def test_earlier_frames_of_the_wrong_shape(tiny_model):
    dynamics = make_dynamics(tiny_model)
    with pytest.raises(ValueError, match=r"\(n_frames, 100, 3\) are required"):
        dynamics.set_history(np.zeros((2, 20, 3)))
