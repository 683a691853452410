"""Samples of published checkpoints: a `.ckpt`, and an `.npz` of what it gives.

    python tests/graphwm_samples.py

writes our own to tests/data/graphwm_own: random weights, evaluated by the reference.
Samples of the authors' network have the same layout; the folder that
CGML_GRAPHWM_SAMPLES names is tested as well.
"""

from pathlib import Path
from typing import Any

import numpy as np
from graphwm_files import CHAIN, MELT, hyper_parameters, random_weights, write
from reference_published import Array, Reference

from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.published.model import ATOMIC_WEIGHTS
from cgml.published.spec import HyperParameters

FOLDER = Path(__file__).parent / "data" / "graphwm_own"


def _sizes(layers: int, mp_steps: int) -> dict[str, int]:
    return {"latent_dim": 5, "units": 6, "layers": layers, "mp_steps": mp_steps}


SMALL = {
    "embedding_gn_hparams": _sizes(1, 1),
    "dynamics_gn_hparams": _sizes(1, 1),
    "property_net_hparams": False,
}
SCORE = {"score_gn_hparams": _sizes(0, 1)}
HEAD = {"property_net_hparams": {"units": 5, "layers": 1, "out_dim": 1}}
OWN: dict[str, dict[str, Any]] = {
    "gns-open": CHAIN | SMALL | HEAD | {"dynamics_gn_hparams": _sizes(1, 2)},
    "gns-box": MELT | SMALL | {"name": "gns", "score_gn_hparams": False},
    "pnr-open": MELT | SMALL | SCORE | HEAD | {"num_btypes": 0},
    "pnr-box": MELT | SMALL | {"score_gn_hparams": _sizes(1, 1)},
}


def sample_mapping(
    sample: dict[str, Array], parameters: HyperParameters
) -> tuple[Mapping, Array]:
    """Return mapping, and bead frames in the unit of the model.

    The authors' beads need not be connected: the mapping is made unchecked.
    """
    types, labels = sample["in_types"], sample["in_cluster"]
    symbols = ["X", *ATOMIC_WEIGHTS]
    names = [symbols[row] if parameters.use_atom_mass else str(row) for row in types]
    table = np.array([1.0, *ATOMIC_WEIGHTS.values()])
    masses = table[types] if parameters.use_atom_mass else np.ones(len(types))
    one_way = sample["in_bonds"][:, 0] < sample["in_bonds"][:, 1]
    kinds = [str(kind) for kind in sample["in_bond_types"][one_way]]
    graph = MolecularGraph.create(names, masses, sample["in_bonds"][one_way], kinds)
    mapping = object.__new__(Mapping)
    mapping.__dict__.update(graph=graph, bead_index=labels.astype(np.int64))
    shares = masses / np.bincount(labels, weights=masses)[labels]
    frames = np.zeros((parameters.seq_len, mapping.n_beads, 3))
    for frame, atoms in zip(frames, sample["in_positions"], strict=False):
        np.add.at(frame, labels, shares[:, None] * atoms)
    return mapping, frames


def system(parameters: dict[str, Any]) -> dict[str, Array]:
    """Two branched molecules and two free atoms, three frames more than are used."""
    stream = np.random.default_rng(5)
    one = np.array([[i, i + 1] for i in range(10)] + [[3, 11]])
    one_way = np.concatenate((one, one + 12))
    elements = np.array([6, 1, 8, 6, 7, 16, 6, 8, 6, 1, 6, 8] * 2 + [3, 3])
    numbers = np.arange(26) % parameters["num_ptypes"]
    kinds = np.arange(len(one_way)) % max(parameters["num_btypes"], 1)
    cluster = np.array([0] * 3 + [1] * 3 + [2] * 3 + [3] * 2 + [1])
    labels = np.concatenate((cluster, cluster + 4, [8, 9]))
    crossing = labels[one_way]
    crossing = np.unique(crossing[crossing[:, 0] != crossing[:, 1]], axis=0)
    start = stream.uniform(0.0, 16.0, (26, 3))
    moves = stream.normal(size=(parameters["seq_len"] + 3, 26, 3))
    moves[0] = start
    return {
        "in_types": elements if parameters["use_atom_mass"] else numbers,
        "in_positions": moves.cumsum(axis=0).astype(np.float32),
        "in_bonds": np.concatenate((one_way, one_way[:, ::-1])),
        "in_bond_types": np.concatenate((kinds, kinds)),
        "in_cluster": labels,
        "in_cg_bonds": np.concatenate((crossing, crossing[:, ::-1])),
    }


def evaluate(
    reference: Reference, values: dict[str, Array], box: Array | None
) -> dict[str, Array]:
    """What the reference gives for a system."""
    raw = reference.parameters
    parameters = HyperParameters.model_validate(raw)
    mapping, frames = sample_mapping(values, parameters)
    graph, masses, bonds = mapping.graph, mapping.bead_masses, mapping.bead_bonds
    kinds = np.array([int(kind) for kind in graph.bond_types])
    atoms = reference.embed(values["in_types"], graph.masses, graph.bonds, kinds)
    beads = np.zeros((mapping.n_beads, atoms.shape[1]))
    np.add.at(beads, mapping.bead_index, atoms)
    beads /= np.bincount(mapping.bead_index)[:, None]
    edges = reference.edges(frames[-1], bonds, box)
    mean, deviation, latent = reference.accelerate(frames, beads, masses, edges)
    place = 2.0 * frames[-1] - frames[-2] + mean
    found = {
        "fine_embedding": atoms,
        "bead_positions": frames.transpose(1, 0, 2),
        "bead_embedding": beads,
        "bead_weights": masses[:, None],
        "n_edge": np.array(len(edges)),
        "acceleration_mean": mean,
        "acceleration_std": deviation,
        "latent": latent,
        "next_position_from_mean": place,
    }
    if raw["property_net_hparams"]:
        radius = reference.head(frames[-1], latent, masses)
        found["radius_of_gyration_prediction"] = radius[None]
    if parameters.name == "pnr":
        edges = reference.edges(place, bonds, box)
        count, repeats = parameters.sigma_level, parameters.step_per_sigma
        noise = np.zeros((1 + count * repeats, *place.shape))
        found["score_network_output"] = reference.score(latent, masses, edges)
        found["sigmas"] = np.geomspace(
            parameters.sigma_begin, parameters.sigma_end, count
        )
        found["next_position_refined_noise_free"] = reference.step(
            frames, beads, masses, bonds, box, noise
        )
    return {f"out_{key}": value for key, value in found.items()}


def main() -> None:
    """Write the samples."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for seed, (name, parameters) in enumerate(OWN.items()):
        weights = random_weights(parameters, seed)
        content = {
            "epoch": 0,
            "state_dict": weights,
            "hyper_parameters": hyper_parameters(parameters),
        }
        write(FOLDER / f"{name}.ckpt", content)
        values = system(parameters)
        lengths = np.array([14.0, 13.0, 15.0]) if name.endswith("box") else np.zeros(3)
        box = np.diag(lengths) if lengths.any() else None
        values["in_box"] = np.tile(lengths, (len(values["in_positions"]), 1))
        values |= evaluate(Reference(parameters, weights), values, box)
        small = {
            key: value.astype(np.float32) if value.dtype == np.float64 else value
            for key, value in values.items()
        }
        np.savez_compressed(FOLDER / f"{name}.npz", **small)


if __name__ == "__main__":
    main()
