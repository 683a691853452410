"""Published models: every number against the reference, and the samples."""

import io
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.data import atomic_masses, chemical_symbols
from graphwm_files import CHAIN, MELT, OPTIONS, published_spec, random_weights
from graphwm_samples import FOLDER, sample_mapping
from reference_published import Array, Reference, shortest

from cgml.contract.state import State
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.molecules.systems import Systems
from cgml.published.blocks import PublishedEdges
from cgml.published.checkpoint import Checkpoint, build_model, read_checkpoint
from cgml.published.model import (
    ATOMIC_WEIGHTS,
    PublishedModel,
    PublishedSystem,
    bond_types,
    build_published_system,
    particle_types,
)
from cgml.published.neighbours import NeighbourList
from cgml.published.spec import HyperParameters, PublishedSpec
from cgml.published.stepper import PublishedStepper, noise_levels
from cgml.spec import FAST, Execution

CPU = torch.device("cpu")
LABELS = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 5]
BONDS = [[i, i + 1] for i in range(9)] + [[2, 4]]
UNIT = 0.1
BOX = np.array([[13.0, 0.0, 0.0], [3.0, 12.0, 0.0], [-4.0, 2.0, 14.0]])
COARSE = Execution(precision="bfloat16")
BOXES = {"open": None, "orthogonal": np.diag([13.0, 12.0, 14.0]), "triclinic": BOX}


def mapping(parameters: dict[str, Any]) -> Mapping:
    """Return a branched molecule of four beads and two free atoms."""
    known = particle_types(HyperParameters.model_validate(parameters))
    names = ["H", "C", "O", "C", "H", "N", "S", "C", "O", "O", "Li", "Li"]
    if not parameters["use_atom_mass"]:
        names = list("012343210012")
    kinds = [str(i % max(parameters["num_btypes"], 1)) for i in range(len(BONDS))]
    masses = [known[name] for name in names]
    return Mapping.from_labels(
        MolecularGraph.create(names, masses, BONDS, kinds), LABELS
    )


class Case:
    """One set of options: model, system, and the reference."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        weights = random_weights(parameters)
        self.parameters = HyperParameters.model_validate(parameters)
        self.model = build_model(Checkpoint(self.parameters, weights, 6), UNIT)
        self.reference = Reference(parameters, weights)
        self.mapping = mapping(parameters)
        self.system = build_published_system(self.mapping, self.spec())
        self.masses = self.mapping.bead_masses
        self.n_draws = self.stepper(None).n_draws
        self.n_history = self.parameters.seq_len - 1

    def spec(self, *, periodic: bool = False) -> PublishedSpec:
        return published_spec(self.parameters.model_dump(), UNIT, periodic=periodic)

    def stepper(
        self,
        box: Array | None,
        n_replicas: int = 1,
        *,
        execution: Execution = FAST,
        module: Any = None,
    ) -> PublishedStepper:
        """Bind the model, or the same in TorchScript; box in its unit of length."""
        boxes = None if box is None else box * UNIT
        return PublishedStepper(
            self.model if module is None else module,
            self.spec(periodic=box is not None),
            Systems([self.mapping] * n_replicas, CPU, boxes),
            execution=execution,
        )

    def step(self, frames: Array, stepper: PublishedStepper, noise: Array) -> Array:
        """Next positions in the unit of the model, of one replica or several."""
        state = state_of(frames, self.n_history, frames.shape[1] // 6)
        moved = stepper.displacement(state, torch.tensor(noise))
        assert moved.dtype == torch.float64
        return frames[-1] + moved.numpy() / UNIT

    def embedding(self) -> Array:
        graph = self.mapping.graph
        symbols = ["X", *ATOMIC_WEIGHTS] if self.parameters.use_atom_mass else "01234"
        rows = np.array([list(symbols).index(name) for name in graph.types])
        kinds = np.array([int(name) for name in graph.bond_types])
        atoms = self.reference.embed(rows, graph.masses, graph.bonds, kinds)
        counts = np.bincount(self.mapping.bead_index)[:, None]
        total = np.zeros((len(counts), atoms.shape[1]))
        np.add.at(total, self.mapping.bead_index, atoms)
        return total / counts

    def frames(self, seed: int = 0) -> Array:
        """Return positions in the unit of the model; bonds long and short."""
        stream = np.random.default_rng(seed)
        start = stream.uniform(-15.0, 15.0, (6, 3))
        moves = stream.normal(size=(self.parameters.seq_len, 6, 3))
        moves[0] = start
        return np.cumsum(moves, axis=0)

    def noise(self, seed: int = 1) -> Array:
        shape = (self.n_draws, 6, 3)
        return np.random.default_rng(seed).normal(size=shape)


@pytest.fixture(params=OPTIONS.values(), ids=OPTIONS.keys())
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


@pytest.fixture(params=BOXES.values(), ids=BOXES.keys())
def box(request: pytest.FixtureRequest) -> Array | None:
    return request.param


def close(found: Any, expected: Any, tolerance: float = 2e-5) -> None:
    """Compare on the scale of the numbers."""
    expected = np.asarray(expected)
    scale = max(float(np.abs(expected).max()), 1e-3)
    np.testing.assert_allclose(
        np.asarray(found), expected, rtol=0.0, atol=tolerance * scale
    )


def newest_first(frames: Array) -> torch.Tensor:
    return torch.tensor(np.diff(frames, axis=0)[::-1] * UNIT)


def state_of(frames: Array, n_known: int, n_replicas: int = 1) -> State:
    """Frames in the unit of the model as what a step begins with."""
    return State(
        positions=torch.tensor(frames[-1] * UNIT),
        displacements=newest_first(frames),
        n_known=torch.full((n_replicas,), n_known),
        step=torch.zeros(n_replicas, dtype=torch.int64),
    )


def fresh_edges(
    positions: torch.Tensor,
    bonds: torch.Tensor,
    cutoff: float,
    box: torch.Tensor | None,
) -> PublishedEdges:
    """Search the neighbours of one system anew."""
    search = NeighbourList([bonds], [len(positions)], cutoff, 0.0, torch.device("cpu"))
    return search.edges(positions, None if box is None else box[None])


def test_every_network_against_the_reference(case, box):
    frames, embedding = case.frames(), case.embedding()
    reference, bonds = case.reference, case.mapping.bead_bonds
    stepper = case.stepper(box)
    close(case.model.embedding(case.system.atoms), embedding)
    state = state_of(frames, case.n_history)
    ahead = stepper.predict(state)
    edges = reference.edges(frames[-1], bonds, box)
    expected = reference.accelerate(frames, embedding, case.masses, edges)
    for found, other in zip(ahead, expected, strict=True):
        close(found, other)
    if case.parameters.name == "pnr":
        found = stepper.score_given(ahead)(torch.tensor(frames[-2]))
        edges = reference.edges(frames[-2], bonds, box)
        close(found, reference.score(expected[2], case.masses, edges))
    if case.parameters.property_net_hparams:
        found = stepper.property(state)
        other = reference.head(frames[-1], expected[2], case.masses)
        close(found, UNIT * other[None])


def test_a_step_against_the_reference(case, box):
    frames, noise = case.frames(), case.noise()
    found = case.step(frames, case.stepper(box), noise)
    expected = case.reference.step(
        frames, case.embedding(), case.masses, case.mapping.bead_bonds, box, noise
    )
    close(found - frames[-1], expected - frames[-1])


@pytest.mark.parametrize("cutoff", [3.0, 6.0, 11.0, 40.0])
def test_edges_against_all_pairs(box, cutoff):
    """Cutoffs below and above half the box; long bonds; far from the origin."""
    parameters = MELT | {"radius": cutoff}
    case = Case(parameters)
    positions = case.frames(seed=3)[-1]
    positions[2] = positions[0] + [0.5, 0.0, 0.0]
    bonds = case.mapping.bead_bonds
    found = fresh_edges(
        torch.tensor(positions),
        case.system.bonds,
        cutoff,
        None if box is None else torch.tensor(box),
    )
    kinds = case.reference.weights["edge_type_embedding.weight"]
    expected = case.reference.edges(positions, bonds, box)
    order = sorted(range(len(expected)), key=lambda k: expected[k][1::-1])
    assert found.sender.tolist() == [expected[k][0] for k in order]
    assert found.receiver.tolist() == [expected[k][1] for k in order]
    np.testing.assert_allclose(
        found.vectors / cutoff, [expected[k][2][:3] for k in order], atol=1e-6
    )
    rows = kinds[found.kinds.numpy()]
    np.testing.assert_allclose(rows, [expected[k][2][4:] for k in order])


def test_a_pair_at_the_cutoff_is_an_edge():
    positions = torch.tensor([[0.0, 0.0, 0.0], [6.0, 0.0, 0.0], [0.0, 6.001, 0.0]])
    none = torch.zeros((0, 2), dtype=torch.int64)
    found = fresh_edges(positions.double(), none, 6.0, None)
    pairs = list(zip(found.sender.tolist(), found.receiver.tolist(), strict=True))
    assert pairs == [(0, 0), (1, 0), (0, 1), (1, 1), (2, 2)]


@pytest.mark.parametrize(("is_periodic", "kind"), [(False, 0), (True, 1)])
def test_a_bond_beyond_the_cutoff_keeps_its_kind_in_a_box_only(is_periodic, kind):
    positions = torch.tensor([[0.0, 0.0, 0.0], [7.0, 0.0, 0.0]]).double()
    bond = torch.tensor([[0, 1], [1, 0]])
    box = 30.0 * torch.eye(3).double() if is_periodic else None
    found = fresh_edges(positions, bond, 6.0, box)
    assert found.kinds.tolist() == [0, kind, kind, 0]


def test_a_start_without_history_is_a_start_at_rest():
    case = Case(CHAIN)
    frames, noise = case.frames(), torch.tensor(case.noise())
    moves, stepper = newest_first(frames), case.stepper(None)
    for n_known in range(4):
        rest = torch.cat((moves[:n_known], torch.zeros_like(moves[n_known:])))
        found = stepper.displacement(state_of(frames, n_known), noise)
        other = replace(state_of(frames, case.n_history), displacements=rest)
        assert torch.equal(found, stepper.displacement(other, noise))


@pytest.mark.parametrize("name", ["chain", "score and head"])
def test_eager_scripted_and_loaded_give_the_same_bits(name):
    case = Case(OPTIONS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(case.model)
        stream = io.BytesIO()
        torch.jit.save(scripted, stream)
        stream.seek(0)
        loaded = torch.jit.load(stream)
    expected = run(case, case.model)
    for module in (scripted, loaded):
        assert isinstance(module.dynamics.network, torch.jit.ScriptModule)
        assert np.array_equal(run(case, module), expected)


def run(case: Case, module: Any) -> Array:
    """Take three steps: TorchScript changes its mind about fusing after two calls."""
    stepper, frames = case.stepper(BOX, module=module), case.frames()
    for _ in range(3):
        after = case.step(frames[-case.parameters.seq_len :], stepper, case.noise())
        frames = np.concatenate((frames, after[None]))
    return frames


@pytest.mark.parametrize("name", ["chain", "score and head"])
@pytest.mark.parametrize("execution", [FAST, COARSE])
def test_a_replica_alone_gives_the_bits_of_the_batch(name, execution):
    """Same system, other positions, other boxes; latents as wide as whole registers."""
    wide = {"latent_dim": 16, "units": 32, "layers": 2, "mp_steps": 2}
    parts = ("embedding", "dynamics", "score")
    case = Case(OPTIONS[name] | {f"{part}_gn_hparams": wide for part in parts})
    starts = [case.frames(seed) for seed in range(3)]
    noises = [case.noise(seed) for seed in range(3)]
    boxes = np.stack([BOX * scale for scale in (1.0, 1.1, 1.2)])
    batch = case.stepper(boxes, 3, execution=execution)
    together = case.step(
        np.concatenate(starts, axis=1), batch, np.concatenate(noises, axis=1)
    )
    for place, found in enumerate(np.split(together, 3)):
        alone = case.stepper(boxes[place], execution=execution)
        assert np.array_equal(found, case.step(starts[place], alone, noises[place]))


def test_whole_box_vectors_change_nothing():
    case = Case(MELT)
    frames, noise, stepper = case.frames(), case.noise(), case.stepper(BOX)
    jump = np.array([[3.0, -2.0, 1.0]] * 3 + [[0.0, 0.0, -50.0]] * 3)
    here = case.step(frames, stepper, noise)
    there = case.step(frames + jump @ BOX, stepper, noise)
    np.testing.assert_allclose(there - jump @ BOX, here, atol=1e-4)


def test_noise_levels():
    parameters = HyperParameters.model_validate(MELT)
    expected = [10.0, 10.0, 1.0, 1.0, 0.1, 0.1]
    np.testing.assert_allclose(noise_levels(parameters), expected)
    assert noise_levels(HyperParameters.model_validate(MELT | {"name": "gns"})) == []


def test_a_gns_file_with_a_score_network_does_not_use_it():
    weights = random_weights(MELT)
    parameters = HyperParameters.model_validate(MELT | {"name": "gns"})
    model = build_model(Checkpoint(parameters, weights, 6), UNIT)
    assert model.score is None


def test_masses_are_standard_atomic_weights():
    expected = dict(zip(chemical_symbols[1:93], atomic_masses[1:93], strict=True))
    assert list(ATOMIC_WEIGHTS) == list(expected)
    for name, mass in expected.items():
        assert ATOMIC_WEIGHTS[name] == pytest.approx(mass, rel=1e-8)


def test_vocabulary():
    melt = HyperParameters.model_validate(MELT)
    assert list(particle_types(melt))[:3] == ["H", "He", "Li"]
    assert list(particle_types(melt))[-1] == "K"  # rows 0 to 19
    assert particle_types(melt)["Li"] == 6.94
    assert bond_types(melt) == [str(number) for number in range(12)]
    chain = HyperParameters.model_validate(CHAIN)
    assert particle_types(chain) == dict.fromkeys("01234", 1.0)
    assert bond_types(chain) == []


def test_a_system_that_the_model_does_not_know_is_refused():
    melt = published_spec(MELT, UNIT, periodic=True)

    def build(name: str, mass: float, kind: str) -> PublishedSystem:
        graph = MolecularGraph.create([name, "H"], [mass, 1.008], [[0, 1]], [kind])
        return build_published_system(Mapping.from_labels(graph, [0, 1]), melt)

    build("C", 12.0107, "3")  # another table of masses
    with pytest.raises(ValueError, match="unknown particle type 'Fe'"):
        build("Fe", 55.8, "3")
    with pytest.raises(ValueError, match="unknown bond type '12'"):
        build("C", 12.0, "12")
    with pytest.raises(ValueError, match=r"'C' must have mass 12\.011 Da.*14 Da"):
        build("C", 14.0, "3")


def test_wrong_shapes_are_refused():
    case = Case(MELT)
    stepper, frames = case.stepper(BOX), case.frames()
    state, draws = state_of(frames, case.n_history), torch.tensor(case.noise())
    shorter = replace(state, displacements=state.displacements[1:])
    fewer = replace(state, positions=state.positions[1:])
    with pytest.raises(ValueError, match=r"draws must .*\(7, 6, 3\), got \(6, 6, 3\)"):
        stepper.displacement(state, draws[1:])
    with pytest.raises(ValueError, match=r"displacements must .*got \(2, 6, 3\)"):
        stepper.displacement(shorter, draws)
    with pytest.raises(ValueError, match=r"positions must .*\(6, 3\), got \(5, 3\)"):
        stepper.displacement(fewer, draws[:, 1:])
    with pytest.raises(ValueError, match="no property head"):
        stepper.property(state)


def test_shortest_images_of_the_tests_are_shortest():
    """Guard the guard: a tilted box where rounding alone picks a longer image."""
    vector = np.array([5.8, 5.9, 0.0])
    rounded = vector - np.round(vector @ np.linalg.inv(BOX)) @ BOX
    assert np.linalg.norm(shortest(vector, BOX)) < np.linalg.norm(rounded)


class Sample:
    """One checkpoint and what the authors' network, or the reference, gives for it."""

    def __init__(self, path: Path) -> None:
        checkpoint = read_checkpoint(path.with_suffix(".ckpt"))
        with np.load(path) as file:
            self.values = {key: file[key] for key in file}
        self.parameters = parameters = checkpoint.parameters
        self.model = build_model(checkpoint, UNIT)
        mapping, self.frames = sample_mapping(self.values, parameters)
        box = np.diag(self.values["in_box"][parameters.seq_len - 1].astype(float))
        boxes = box * UNIT if box.any() else None
        spec = published_spec(parameters.model_dump(), UNIT, periodic=boxes is not None)
        spec = spec.model_copy(update={"n_embedding": self.model.embedding.n_output})
        self.system = build_published_system(mapping, spec)
        self.stepper = PublishedStepper(
            self.model, spec, Systems([mapping], CPU, boxes)
        )
        self.state = state_of(self.frames, parameters.seq_len - 1)
        self.ahead = self.stepper.predict(self.state)
        place = 2.0 * self.frames[-1] - self.frames[-2]
        self.place = torch.tensor(place) + self.ahead.mean


def samples() -> list[Path]:
    """Our own, and those of the authors' network where there are any."""
    more = os.environ.get("CGML_GRAPHWM_SAMPLES")
    folders = [FOLDER] if more is None else [FOLDER, Path(more)]
    return [path for folder in folders for path in sorted(folder.glob("*.npz"))]


@pytest.fixture(scope="module", params=samples(), ids=lambda path: path.stem)
def sample(request: pytest.FixtureRequest) -> Sample:
    return Sample(request.param)


def test_there_are_samples_of_every_sort():
    names = {path.stem for path in samples()}
    assert names >= {"gns-box", "gns-open", "pnr-box", "pnr-open"}


def test_sample_beads(sample):
    values = sample.values
    atoms = sample.model.embedding.embed_atoms(sample.system.atoms)
    close(atoms, values["out_fine_embedding"])
    close(sample.model.embedding(sample.system.atoms), values["out_bead_embedding"])
    close(sample.system.masses, values["out_bead_weights"])
    close(sample.frames.transpose(1, 0, 2), values["out_bead_positions"])
    pairs = {tuple(pair) for pair in sample.system.bonds.tolist()}
    assert pairs == {tuple(pair) for pair in values["in_cg_bonds"].tolist()}


def test_sample_dynamics(sample):
    edges = sample.stepper.edges(torch.tensor(sample.frames[-1]))
    assert len(edges.sender) == sample.values["out_n_edge"]
    close(sample.ahead.mean, sample.values["out_acceleration_mean"])
    close(sample.ahead.deviation, sample.values["out_acceleration_std"])
    close(sample.ahead.nodes, sample.values["out_latent"])
    close(sample.place, sample.values["out_next_position_from_mean"])


def test_sample_step(sample):
    values = sample.values
    noise = torch.zeros(sample.stepper.n_draws, len(sample.frames[-1]), 3)
    moved = sample.stepper.displacement(sample.state, noise)
    is_pnr = sample.parameters.name == "pnr"
    name = "refined_noise_free" if is_pnr else "from_mean"
    close(sample.frames[-1] + moved.numpy() / UNIT, values[f"out_next_position_{name}"])


def test_sample_score_or_property(sample):
    values, parameters = sample.values, sample.parameters
    names = ("out_radius_of_gyration_prediction", "out_score_network_output")
    assert any(name in values for name in names) or parameters.name == "gns"
    if parameters.property_net_hparams:
        close(sample.stepper.property(sample.state) / UNIT, values[names[0]])
    if parameters.name == "pnr":
        close(sample.stepper.score_given(sample.ahead)(sample.place), values[names[1]])
        levels = noise_levels(parameters)[:: parameters.step_per_sigma]
        close(levels, values["out_sigmas"])


def test_the_container_has_no_surprises():
    model = Case(MELT).model
    assert isinstance(model, PublishedModel)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.property_head is None
    assert float(model.length_unit) == UNIT
