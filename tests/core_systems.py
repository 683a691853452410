"""What the tests of the core share: small molecules, models and trajectories."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cgml.formats.trajectory import BeadTrajectory
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.ideal_chain import gained_variance, laplacian_modes, retention
from cgml.molecules.mapping import Mapping
from cgml.network.energies import build_energy
from cgml.network.inputs import Beads, SystemGraph
from cgml.network.model import LearnedModel, Model
from cgml.network.pairs import Layout, PairSearch, lay_out
from cgml.spec import ModelSpec, PotentialSpec
from cgml.training.potential import with_potential

MASSES = {"A": 1.0, "B": 2.0, "C": 1.5, "D": 3.0}
SPEC: dict[str, Any] = {
    "name": "small",
    "time_step": 20.0,
    "n_history": 2,
    "particle_types": MASSES,
    "bond_types": ["bond", "double"],
    "atoms_per_bead": 2.0,
    "partition": "recursive",
    "single_bead_limit": 0,
    "keep_hydrogens": False,
    "cutoff": None,
    "periodic": False,
    "temperature": 300.0,
    "friction": 0.5,
    "remove_drift": False,
    "network": {
        "n_embedding": 16,
        "n_embedding_steps": 1,
        "n_node": 32,
        "n_edge": 32,
        "n_predictor_layers": 1,
        "n_refiner_layers": 1,
    },
    "prior": {"rate": 0.7, "variance": 1.3},
    "refinement": {"n_levels": 3},
    "statistics": {
        "length_scale": 1.8,
        "displacement_scale": 2.0,
        "max_displacement": 1.0e3,
        "bond_length_range": (0.1, 1.0e3),
        "min_distance": 0.0,
        "mean_degree": 5.0,
    },
    "has_property": True,
    "radial_centres": (),
    "reach": None,
    "provenance": {},
    "rotation": [],
}


BOX = np.array([[7.0, 0.0, 0.0], [1.0, 7.0, 0.0], [0.0, -1.0, 8.0]])


def small_spec(**changes: Any) -> ModelSpec:
    """Return a spec with guards that never trip; dictionaries are merged."""
    assert changes.keys() <= SPEC.keys()
    content = {
        key: value | changes[key]
        if isinstance(value, dict) and key in changes and key != "particle_types"
        else changes.get(key, value)
        for key, value in SPEC.items()
    }
    return ModelSpec.model_validate(content)


def chain(types: str = "AABBCDDCAB", *, atoms_per_bead: int = 2) -> Mapping:
    """Return an unbranched chain cut into equal runs."""
    n = len(types)
    bonds = np.stack((np.arange(n - 1), np.arange(1, n)), axis=1)
    graph = MolecularGraph.create(types, [MASSES[name] for name in types], bonds)
    return Mapping.from_labels(graph, np.arange(n) // atoms_per_bead)


def mixture() -> Mapping:
    """Return a branched molecule, a chain of two beads and a free atom."""
    types = "ABCDABCDAB"
    bonds = [[0, 1], [1, 2], [2, 3], [2, 4], [4, 5], [6, 7], [7, 8]]
    kinds = ["bond", "double", "bond", "bond", "double", "bond", "bond"]
    masses = [MASSES[name] for name in types]
    graph = MolecularGraph.create(types, masses, bonds, kinds)
    return Mapping.from_labels(graph, [0, 0, 1, 2, 3, 3, 4, 4, 5, 6])


def coil(mapping: Mapping, seed: int = 0, *, bond: float = 1.5) -> NDArray[np.float64]:
    """Return beads placed at random, those of a bond about `bond` nm apart."""
    stream = np.random.default_rng(seed)
    positions = 4.0 * stream.normal(size=(mapping.n_beads, 3))
    for first, second in mapping.bead_bonds:
        step = stream.normal(size=3)
        positions[second] = positions[first] + bond * step / np.linalg.norm(step)
    return positions


def learned(spec: ModelSpec, seed: int = 0) -> LearnedModel:
    """Return an eager model with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LearnedModel(spec, Model(spec).eval())


def energetic(*, is_periodic: bool = False, network: str = "messages") -> LearnedModel:
    """Return a small model with a potential of random weights."""
    cutoff = 3.0 if is_periodic or network == "tensornet" else None
    periodic: dict[str, Any] = {"periodic": True, "cutoff": 3.0, "friction": None}
    spec = small_spec(**periodic) if is_periodic else small_spec()
    potential = PotentialSpec.model_validate(
        {
            "network": network,
            "n_node": 12,
            "n_layers": 2 if network == "messages" else 1,
            "cutoff": cutoff,
            "noise": 0.05,
            "bond_stiffness": 3.0,
            "bond_length": 1.2,
            "wall_distance": 1.0,
            "wall_height": 9.0,
        }
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        energy = build_energy(spec, potential)
    return with_potential(learned(spec), potential, energy)


def idle_model(spec: ModelSpec) -> Model:
    """Return untrained networks close to the Rouse model, hence stable."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Model(spec)
    for parameter in model.parameters():
        parameter.data.mul_(0.1)
    return model


def rouse_only(spec: ModelSpec) -> LearnedModel:
    """Return a model whose networks add nothing: mean and spread of the Rouse chain."""
    model = learned(spec)
    module = model.module
    with torch.no_grad():
        for layer in (
            module.predictor.shift.edge,
            module.predictor.shift.node.second,
            module.predictor.spread.second,
            module.denoiser.readout.edge,
            module.denoiser.readout.node.second,
        ):
            layer.weight.zero_()
            layer.bias.zero_()
        # the spread is 0.1 + log(1 + exp(raw + 0.4)): 1 at this raw value
        module.predictor.spread.second.bias.fill_(np.log(np.expm1(0.9)) - 0.4)
    return model


def as_double(part: Any) -> Any:
    """Return tensors, in named tuples and lists, with real numbers in double."""
    if isinstance(part, torch.Tensor):
        return part.double() if part.is_floating_point() else part
    if isinstance(part, list):
        return [as_double(each) for each in part]
    return type(part)(*(as_double(each) for each in part))


def laid_out(
    beads: Beads,
    sizes: list[int],
    positions: Any = None,
    cutoff: float | None = None,
    boxes: Any = None,
) -> Layout:
    """Return the edges along which beads exchange messages."""
    places = torch.zeros(sum(sizes), 3) if positions is None else positions
    pairs = PairSearch(beads, sizes, cutoff, boxes)(torch.as_tensor(places))
    return lay_out(pairs, sum(sizes), is_periodic=boxes is not None)


def double_system(system: SystemGraph) -> SystemGraph:
    return SystemGraph(as_double(system.atoms), as_double(system.beads))


def random_orthogonal(seed: int, *, reflect: bool = False) -> NDArray[np.float64]:
    """Return a rotation, or a rotation times a reflection, (3, 3)."""
    matrix = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    sign = -1.0 if reflect else 1.0
    return matrix * sign * np.linalg.det(matrix)


def frames_of(
    mapping: Mapping,
    positions: NDArray[Any],
    *,
    spacing: float = 10.0,
    name: str = "made up",
    **observables: NDArray[Any],
) -> BeadTrajectory:
    """Return bead frames, (n_frames, n_beads, 3), `spacing` ps apart."""
    return BeadTrajectory(
        mapping=mapping,
        positions=positions.astype(np.float32),
        times=spacing * np.arange(len(positions)),
        name=name,
        observables=observables,
    )


def rouse_frames(
    mapping: Mapping, spec: ModelSpec, n_frames: int, seed: int
) -> NDArray[np.float64]:
    """Simulate one Rouse chain of the spec's prior mode by mode, centre held.

    Returns:
        (n_frames, n_beads, 3) nm, one model step apart, stationary.
    """
    stream = np.random.default_rng(seed)
    masses = mapping.bead_masses
    values, vectors = laplacian_modes(masses, mapping.bead_bonds)
    values, vectors = values[1:, None], vectors[:, 1:]
    kept, gained = retention(values, spec.prior), gained_variance(values, spec.prior)
    modes = np.empty((n_frames, len(values), 3))
    noise = stream.normal(size=modes.shape)
    modes[0] = np.sqrt(spec.prior.variance / values) * noise[0]
    for frame in range(1, n_frames):
        modes[frame] = kept * modes[frame - 1] + np.sqrt(gained) * noise[frame]
    weights = np.sqrt(masses / masses.mean())
    return np.einsum("bk,fkd->fbd", vectors / weights[:, None], modes)
