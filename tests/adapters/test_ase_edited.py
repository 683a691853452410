"""Atoms that were sorted, cut, repeated or joined: what knows them by their place."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import sort
from ase.io import read
from ase_systems import DATA_FILE, N_ATOMS, NAMES, make_dynamics, read_chain

from ase_cgml import CGMLDynamics, bead_atoms, graph_from_atoms
from ase_cgml.checks import check_atoms
from cgml.models.file import load_model
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network.model import LearnedModel

HALVES = [*range(50, 100), *range(50)]


def without_last(atoms: Atoms) -> Atoms:
    del atoms[17]
    return atoms


EDITS = {
    "sorted": lambda a: sort(a, tags=a.arrays["type"]),
    "halves": lambda a: a[HALVES],
    "reversed": lambda a: a[::-1],
    "repeated": lambda a: a * (2, 1, 1),
    "joined": lambda a: a + a.copy(),
    "deleted": without_last,
    "second half": lambda a: a[50:],
    "two exchanged": lambda a: a[[1, 0, *range(2, 100)]],
}
every_edit = pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)


@every_edit
def test_bonds_after_editing_are_refused(tiny_model, edit):
    atoms = edit(read_chain())
    atoms.calc = CGMLDynamics(tiny_model, type_names=NAMES)
    with pytest.raises(ValueError, match=r"atom \d+ has id \d+.*pass topology="):
        atoms.calc.mapping(atoms)


def test_bonds_of_a_file_read_out_of_order_are_refused(tiny_model, tmp_path):
    lines = DATA_FILE.read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("Atoms")) + 2
    lines[first : first + N_ATOMS] = lines[first : first + N_ATOMS][::-1]
    path = tmp_path / "reversed.data"
    path.write_text("\n".join(lines) + "\n")
    calc = CGMLDynamics(tiny_model, type_names=NAMES)
    expected = calc.mapping(read_chain()).hash()
    assert calc.mapping(read(path, format="lammps-data")).hash() == expected
    with pytest.raises(ValueError, match="sort_by_id=True"):
        calc.mapping(read(path, format="lammps-data", sort_by_id=False))


def test_bonds_made_by_hand_need_no_ids(tiny_model):
    atoms = read_chain()
    calc = CGMLDynamics(tiny_model, type_names=NAMES)
    expected = calc.mapping(atoms).hash()
    del atoms.arrays["id"]
    assert calc.mapping(atoms).hash() == expected


def test_topology_in_the_new_order_works(tiny_model):
    """The advice of the refusal: the same bonds, the atoms in another order."""
    atoms = read_chain()
    spec = load_model(tiny_model).spec
    graph = graph_from_atoms(atoms, spec, type_names=NAMES)
    after = atoms[HALVES]
    after.calc = CGMLDynamics(
        tiny_model, topology=graph.select(HALVES), type_names=NAMES, guard="record"
    )
    found = after.calc.mapping(after).graph
    ends = after.positions[found.bonds]
    lengths = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    first = atoms.positions[graph.bonds]
    assert lengths.max() == pytest.approx(
        np.linalg.norm(first[:, 0] - first[:, 1], axis=1).max()
    )
    after.calc.dynamics(after).run(2)
    after.calc = CGMLDynamics(tiny_model, topology=graph, type_names=NAMES)
    with pytest.raises(ValueError, match=r"atom \d+ is . in the topology and . in"):
        after.calc.mapping(after)


@every_edit
def test_atoms_edited_after_a_run_are_refused(tiny_model, edit):
    atoms = make_dynamics(tiny_model).atoms
    atoms = edit(atoms)
    for name in ("bonds", "id"):  # a run in atoms.info knows the bonds
        del atoms.arrays[name]
    calc = CGMLDynamics(tiny_model, type_names=NAMES)
    with pytest.raises(ValueError, match=r"edited .* after a run"):
        calc.mapping(atoms)
    with pytest.raises(ValueError, match=r"edited .* after a run"):
        bead_atoms(atoms, make_dynamics(tiny_model).mapping)


def test_atoms_edited_after_reading_a_run_are_refused(tiny_model, tmp_path):
    make_dynamics(tiny_model, trajectory=str(tmp_path / "a.traj")).run(2)
    atoms = read(tmp_path / "a.traj")[HALVES]
    atoms.calc = CGMLDynamics(tiny_model, guard="record")
    with pytest.raises(ValueError, match="reordered after the run"):
        atoms.calc.dynamics(atoms)


def test_beads_in_another_order_are_refused(tiny_model):
    made = make_dynamics(tiny_model, beads=True)
    masses = made.mapping.bead_masses
    labels = made.mapping.bead_index.copy()
    labels[labels == 19] = 18  # one bead of ten atoms
    mapping = Mapping.from_labels(made.mapping.graph, labels)
    beads = bead_atoms(read_chain(), mapping)
    assert mapping.n_beads == len(masses) - 1
    del beads.arrays["cgml_index"]
    beads = beads[::-1]
    beads.calc = CGMLDynamics(tiny_model, topology=mapping)
    for call in (beads.calc.dynamics, Atoms.get_forces):
        with pytest.raises(ValueError, match="beads in the order of the mapping"):
            call(beads)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("step", 7, "damaged or was changed"),
        ("seed", 1, "damaged or was changed"),
        ("n_known", 1, "damaged or was changed"),
        ("particles", np.zeros((N_ATOMS, 3)), "damaged or was changed"),
        ("seal", None, "earlier version of cgml or damaged, as it has no seal"),
        ("model", None, "has no model"),
    ],
)
def test_changed_records_are_refused(tiny_model, key, value, match):
    atoms = make_dynamics(tiny_model).atoms
    if value is None:
        del atoms.info["cgml"][key]
    else:
        atoms.info["cgml"][key] = value
    with pytest.raises(ValueError, match=match + ".*delete it"):
        atoms.calc.dynamics(atoms)


def test_run_of_other_weights_is_refused(tiny_model, tmp_path):
    make_dynamics(tiny_model, trajectory=str(tmp_path / "a.traj")).run(2)
    model = load_model(tiny_model)
    next(iter(model.module.state_dict().values())).add_(1e-3)
    assert isinstance(model, LearnedModel)
    atoms = read(tmp_path / "a.traj")
    atoms.calc = CGMLDynamics(model)
    with pytest.raises(ValueError, match="other weights"):
        atoms.calc.dynamics(atoms)


def test_atoms_that_are_not_those_of_the_topology():
    """Symbols and masses tell, where nothing else does."""
    graph = MolecularGraph.create(
        ["C", "O", "CH3"], [12.011, 15.999, 15.035], [[0, 1], [1, 2]]
    )
    check_atoms(Atoms("COC", np.zeros((3, 3))), graph, None)
    check_atoms(Atoms("COC", masses=[12.0, 16.0, 15.03]), graph, None)
    with pytest.raises(ValueError, match="atom 0 is C in the topology and O in the"):
        check_atoms(sort(Atoms("COC"), tags=[1, 0, 2]), graph, None)
    with pytest.raises(ValueError, match=r"atom 2 \(CH3\) has 15\.035 .* and 14\.027"):
        check_atoms(Atoms("COC", masses=[12.0, 16.0, 14.027]), graph, None)
