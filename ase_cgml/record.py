"""What atoms carry of a run: the record in `atoms.info["cgml"]`.

It is a dictionary of

=============  ==============================================================
time_step      time of one step, ps
seed           seed of the random stream
step           steps done; with the seed it says which random numbers come next
n_known        how many of the displacements are true (0 at a start from one frame)
positions      beads, (n_beads, 3), nm, exact (Å and back may cost the last bit)
displacements  earlier displacements of the beads, (n_history, n_beads, 3), nm,
               newest first
particles      atoms.positions that belong to all this, unwrapped, Å
reference      start of atoms that are carried with beads, (n_atoms, 3), nm
box            that of the run, row vectors, (3, 3), nm; zeros: open boundaries
mapping        atoms -> beads, with types, masses and bonds (see `unpack_mapping`)
system         Mapping.hash() of it
model          fingerprint of the weights and of the mapping
seal           sha256 of what decides the steps to come
=============  ==============================================================

Each step reads it and writes it, and a .traj file keeps it. It speaks of atoms by
their place in the list: the array "cgml_index" tells whether that has been edited.
"""

# mypy: allow-untyped-calls

import base64
import hashlib
import zlib
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from ase_cgml.checks import check_order
from ase_cgml.convert import INDEX, NM
from cgml.dynamics.passengers import Passengers
from cgml.dynamics.propagator import State
from cgml.molecules.mapping import Mapping

KEY = "cgml"
"""Key of the record in atoms.info."""

UNMOVED = 1e-12
"""Part of the largest coordinate that wrapping atoms into the box may round."""

DECISIVE = ("time_step", "seed", "step", "n_known", "system", "model")
ARRAYS = ("positions", "displacements", "particles", "reference", "box")
ADVICE = "delete it for a new start"


def make(
    particles: NDArray[Any],
    passengers: Passengers,
    state: State,
    reference: NDArray[np.float64],
) -> dict[str, Any]:
    """Make the record of a state, whose particles are there, (n_particles, 3), Å."""
    propagator, mapping = passengers.propagator, passengers.mapping
    record = {
        "time_step": propagator.spec.time_step,
        "seed": propagator.seed,
        "step": int(state.step[0]),
        "n_known": int(state.n_known[0]),
        "positions": _array(state.positions),
        "displacements": _array(state.displacements),
        "particles": particles.copy(),
        "reference": reference,
        "box": _box(passengers),
        "mapping": pack_mapping(mapping),
        "system": mapping.hash(),
        "model": passengers.fingerprint.hex(),
    }
    return record | {"seal": _seal(record)}


def write(atoms: Atoms, record: dict[str, Any]) -> None:
    """Write a record into the atoms that its run has moved."""
    if INDEX not in atoms.arrays:
        atoms.set_array(INDEX, np.arange(len(atoms)))
    atoms.info[KEY] = record


def read(atoms: Atoms, passengers: Passengers) -> dict[str, Any] | None:
    """Read the record that atoms carry; None: there is none.

    Raises:
        ValueError: another model, other weights or another system have left it, it has
            been changed, or the atoms have been edited since.
    """
    check_order(atoms)
    record: dict[str, Any] | None = atoms.info.get(KEY)
    if record is None:
        return None
    lacking = [
        key for key in (*DECISIVE, *ARRAYS, "mapping", "seal") if key not in record
    ]
    if lacking:
        raise ValueError(
            f"atoms.info[{KEY!r}] is of an earlier version of cgml or damaged, as it "
            f"has no {' and no '.join(lacking)}: {ADVICE}"
        )
    _check_model(record, passengers)
    if record["seal"] != _seal(record):
        raise ValueError(
            f"atoms.info[{KEY!r}] is damaged or was changed by hand: {ADVICE}"
        )
    return record


def is_unmoved(atoms: Atoms, record: dict[str, Any], passengers: Passengers) -> bool:
    """Tell whether the atoms are where the run left them, but for whole box vectors.

    Raises:
        ValueError: They are there in another order.
    """
    places = np.asarray(record["particles"])
    if np.array_equal(atoms.positions, places):
        return True
    if passengers.is_periodic and passengers.are_at(
        atoms.positions / NM, places / NM, UNMOVED
    ):
        return True
    if np.array_equal(_rows(atoms.positions), _rows(places)):
        raise ValueError(
            f"the atoms were reordered after the run in atoms.info[{KEY!r}], which "
            f"knows them by their place: undo that, or {ADVICE} and pass topology= in "
            "the new order"
        )
    return False


def change_of_box(record: dict[str, Any], passengers: Passengers) -> str:
    """Say from which box to which one the particles came after the run; "": none."""
    before, now = np.asarray(record["box"]), _box(passengers)
    if np.array_equal(before, now):
        return ""
    return f"from {before.tolist()} nm to {now.tolist()} nm"


def state_of(record: dict[str, Any], passengers: Passengers) -> State:
    """Make the state of a record whose particles are unmoved."""
    return passengers.propagator.start(
        record["positions"],
        displacements=record["displacements"],
        n_known=np.array([record["n_known"]]),
        step=record["step"],
    )


def pack_mapping(mapping: Mapping) -> str:
    """Write a mapping as short text (base64 of compressed JSON)."""
    return base64.b64encode(zlib.compress(mapping.to_json().encode())).decode()


def unpack_mapping(text: str) -> Mapping:
    """Read what `pack_mapping` wrote."""
    return Mapping.from_json(
        zlib.decompress(base64.b64decode(text)).decode(), f"atoms.info[{KEY!r}]"
    )


def _check_model(record: dict[str, Any], passengers: Passengers) -> None:
    """Refuse a record that another model or another system has left."""
    spec, mapping = passengers.propagator.spec, passengers.mapping
    shape = (spec.n_history, mapping.n_beads, 3)
    found = np.shape(record["displacements"])
    if record["time_step"] != spec.time_step or found != shape:
        raise ValueError(
            f"the model has a time step of {spec.time_step:g} ps and a history of "
            f"shape {shape}, atoms.info[{KEY!r}] is a state with "
            f"{record['time_step']:g} ps and {found}: {ADVICE}"
        )
    if record["system"] != mapping.hash():
        raise ValueError(
            f"atoms.info[{KEY!r}] is the state of a system with other types, bonds or "
            f"beads: {ADVICE}, or use the same topology"
        )
    if record["model"] != passengers.fingerprint.hex():
        raise ValueError(
            f"atoms.info[{KEY!r}] is the state of a model with other weights than "
            f"{spec.name!r} has here: use that model, or {ADVICE}"
        )


def _seal(record: dict[str, Any]) -> str:
    """Fingerprint (sha256) of all that decides the steps to come."""
    digest = hashlib.sha256(repr([record[key] for key in DECISIVE]).encode())
    for key in ARRAYS:
        values = np.asarray(record[key], dtype=np.float64)
        digest.update(f"{values.shape}".encode())
        digest.update((values + 0.0).tobytes())  # -0.0 is 0.0
    return digest.hexdigest()


def _box(passengers: Passengers) -> NDArray[np.float64]:
    """The box of particles, (3, 3), nm; zeros: open boundaries."""
    return np.zeros((3, 3)) if passengers.box is None else passengers.box.copy()


def _rows(positions: NDArray[Any]) -> NDArray[Any]:
    """The same rows in an order that depends on them alone."""
    return np.asarray(positions[np.lexsort(positions.T)])


def _array(tensor: Any) -> NDArray[np.float64]:
    """Copy a tensor to the host."""
    return np.array(tensor.detach().cpu().numpy(), dtype=np.float64)
