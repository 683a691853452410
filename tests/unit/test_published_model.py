"""Published models: every number against a plain evaluation, and the samples."""

import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.data import atomic_masses, chemical_symbols
from graphwm_files import (
    CHAIN,
    MELT,
    OPTIONS,
    Array,
    Plain,
    random_weights,
    shortest,
)

from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network.inputs import Atoms
from cgml.published.model import (
    ATOMIC_WEIGHTS,
    PublishedModel,
    PublishedSystem,
    bond_types,
    build_model,
    build_published_system,
    particle_types,
)
from cgml.published.neighbours import NeighbourList
from cgml.published.networks import PublishedEdges
from cgml.published.spec import Checkpoint, HyperParameters, read_checkpoint
from cgml.published.stepper import PublishedStepper, noise_levels
from cgml.spec import FAST, Execution

SAMPLES = Path(
    os.environ.get(
        "CGML_GRAPHWM_SAMPLES", Path(__file__).parents[1] / "data" / "graphwm"
    )
)
LABELS = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 5]
BONDS = [[i, i + 1] for i in range(9)] + [[2, 4]]
UNIT = 0.1
BOX = np.array([[13.0, 0.0, 0.0], [3.0, 12.0, 0.0], [-4.0, 2.0, 14.0]])
PLAIN, COARSE = Execution(plain=True), Execution(precision="bfloat16")
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
    """One set of options: model, system, stepper, and the plain evaluation."""

    def __init__(self, parameters: dict[str, Any], execution: Execution = FAST) -> None:
        weights = random_weights(parameters)
        self.parameters = HyperParameters.model_validate(parameters)
        self.checkpoint = Checkpoint(self.parameters, weights)
        self.model = build_model(self.checkpoint, UNIT)
        self.plain = Plain(parameters, weights)
        self.mapping = mapping(parameters)
        self.system = build_published_system(self.mapping, self.parameters)
        self.stepper = PublishedStepper(
            self.model, self.parameters, [self.system], execution=execution
        )
        self.masses = self.mapping.bead_masses

    def embedding(self) -> Array:
        graph = self.mapping.graph
        symbols = ["X", *ATOMIC_WEIGHTS] if self.parameters.use_atom_mass else "01234"
        rows = np.array([list(symbols).index(name) for name in graph.types])
        kinds = np.array([int(name) for name in graph.bond_types])
        atoms = self.plain.embed(rows, graph.masses, graph.bonds, kinds)
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
        shape = (self.stepper.n_draws, 6, 3)
        return np.random.default_rng(seed).normal(size=shape)


@pytest.fixture(params=[FAST, PLAIN], ids=["fast", "plain"])
def execution(request: pytest.FixtureRequest) -> Execution:
    return request.param


@pytest.fixture(params=OPTIONS.values(), ids=OPTIONS.keys())
def case(request: pytest.FixtureRequest, execution: Execution) -> Case:
    return Case(request.param, execution)


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


def in_nm(box: Array | None) -> list[torch.Tensor] | None:
    return None if box is None else [torch.tensor(box * UNIT)]


def newest_first(frames: Array) -> torch.Tensor:
    return torch.tensor(np.diff(frames, axis=0)[::-1] * UNIT)


def fresh_edges(
    positions: torch.Tensor,
    bonds: torch.Tensor,
    cutoff: float,
    box: torch.Tensor | None,
) -> PublishedEdges:
    """Search the neighbours of one system anew."""
    search = NeighbourList([bonds], [len(positions)], cutoff, 0.0, torch.device("cpu"))
    return search.edges(positions, None if box is None else box[None])


def test_every_network_against_the_plain_evaluation(case, box):
    frames, embedding = case.frames(), case.embedding()
    plain, bonds = case.plain, case.mapping.bead_bonds
    close(case.model.embedding(case.system.atoms), embedding)
    ahead = case.stepper.predict(
        torch.tensor(frames[-1] * UNIT), newest_first(frames), in_nm(box)
    )
    edges = plain.edges(frames[-1], bonds, box)
    mean, deviation, latent = plain.accelerate(frames, embedding, case.masses, edges)
    close(ahead.mean, mean)
    close(ahead.deviation, deviation)
    close(ahead.nodes, latent)
    if case.parameters.name == "pnr":
        score = case.stepper.score_given(ahead, in_nm(box))
        found = score(torch.tensor(frames[-2]))
        edges = plain.edges(frames[-2], bonds, box)
        close(found, plain.score(latent, case.masses, edges))
    if case.parameters.property_net_hparams:
        found = case.stepper.property(
            torch.tensor(frames[-1] * UNIT), newest_first(frames), in_nm(box)
        )
        expected = plain.head(frames[-1], latent, case.masses)
        close(found, UNIT * expected[None])


def test_a_step_against_the_plain_evaluation(case, box):
    frames, noise = case.frames(), case.noise()
    found = case.stepper.step(
        torch.tensor(frames * UNIT), in_nm(box), torch.tensor(noise)
    )
    expected = case.plain.step(
        frames, case.embedding(), case.masses, case.mapping.bead_bonds, box, noise
    )
    close(found.numpy() / UNIT - frames[-1], expected - frames[-1])
    assert found.dtype == torch.float64


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
    kinds = case.plain.weights["edge_type_embedding.weight"]
    expected = case.plain.edges(positions, bonds, box)
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
    frames = torch.tensor(case.frames() * UNIT)
    noise = torch.tensor(case.noise())
    for n_known in (1, 2, 3):
        known = frames[-n_known:]
        full = torch.cat((known[:1].expand(4 - n_known, -1, -1), known))
        found = case.stepper.step(known, None, noise)
        assert torch.equal(found, case.stepper.step(full, None, noise))
    longer = torch.cat((frames[:1] + 1.0, frames))
    assert torch.equal(
        case.stepper.step(longer, None, noise), case.stepper.step(frames, None, noise)
    )


@pytest.mark.parametrize("name", ["chain", "score and head"])
def test_eager_scripted_and_loaded_give_the_same_bits(name, execution):
    case = Case(OPTIONS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(case.model)
        stream = io.BytesIO()
        torch.jit.save(scripted, stream)
        stream.seek(0)
        loaded = torch.jit.load(stream)
    expected = run(case.model, case, execution)
    for module in (scripted, loaded):
        assert torch.equal(run(module, case, execution), expected)


def run(module: Any, case: Case, execution: Execution) -> torch.Tensor:
    """Take three steps: TorchScript changes its mind about fusing after two calls."""
    stepper = PublishedStepper(
        module, case.parameters, [case.system], execution=execution
    )
    frames, noise = torch.tensor(case.frames() * UNIT), torch.tensor(case.noise())
    for _ in range(3):
        frames = torch.cat((frames, stepper.step(frames, in_nm(BOX), noise)[None]))
    return frames


@pytest.mark.parametrize("name", ["chain", "score and head"])
@pytest.mark.parametrize("execution", [FAST, PLAIN, COARSE])
def test_a_replica_alone_gives_the_bits_of_the_batch(name, execution):
    """Same system, other positions, other boxes; latents as wide as whole registers."""
    wide = {"latent_dim": 16, "units": 32, "layers": 2, "mp_steps": 2}
    parts = ("embedding", "dynamics", "score")
    case = Case(
        OPTIONS[name] | {f"{part}_gn_hparams": wide for part in parts}, execution
    )
    starts = [torch.tensor(case.frames(seed) * UNIT) for seed in range(3)]
    noises = [torch.tensor(case.noise(seed)) for seed in range(3)]
    boxes = [torch.tensor(BOX * UNIT * scale) for scale in (1.0, 1.1, 1.2)]
    batch = PublishedStepper(
        case.model, case.parameters, [case.system] * 3, execution=execution
    )
    together = batch.step(torch.cat(starts, dim=1), boxes, torch.cat(noises, dim=1))
    for place, found in enumerate(together.split(6)):
        alone = case.stepper.step(
            starts[place], boxes[place : place + 1], noises[place]
        )
        assert torch.equal(found, alone)


def test_whole_box_vectors_change_nothing():
    case = Case(MELT)
    frames, noise = torch.tensor(case.frames() * UNIT), torch.tensor(case.noise())
    jump = torch.tensor([[3.0, -2.0, 1.0]] * 3 + [[0.0, 0.0, -50.0]] * 3).double()
    shift = jump @ torch.tensor(BOX * UNIT)
    here = case.stepper.step(frames, in_nm(BOX), noise)
    there = case.stepper.step(frames + shift, in_nm(BOX), noise)
    np.testing.assert_allclose(there - shift, here, atol=1e-5)


def test_noise_levels():
    parameters = HyperParameters.model_validate(MELT)
    expected = [10.0, 10.0, 1.0, 1.0, 0.1, 0.1]
    np.testing.assert_allclose(noise_levels(parameters), expected)
    assert noise_levels(HyperParameters.model_validate(MELT | {"name": "gns"})) == []


def test_a_gns_file_with_a_score_network_does_not_use_it():
    weights = random_weights(MELT)
    parameters = HyperParameters.model_validate(MELT | {"name": "gns"})
    model = build_model(Checkpoint(parameters, weights), UNIT)
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
    melt = HyperParameters.model_validate(MELT)

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
    frames, noise = torch.tensor(case.frames()), torch.tensor(case.noise())
    with pytest.raises(ValueError, match=r"noise must .*\(7, 6, 3\), got \(6, 6, 3\)"):
        case.stepper.step(frames, None, noise[1:])
    with pytest.raises(ValueError, match=r"displacements must .*got \(3, 5, 3\)"):
        case.stepper.step(frames[:, 1:], None, noise)
    with pytest.raises(ValueError, match="no property head"):
        case.stepper.property(frames[-1], newest_first(case.frames()), None)
    with pytest.raises(ValueError, match="at least one system"):
        PublishedStepper(case.model, case.parameters, [])


def test_shortest_images_of_the_tests_are_shortest():
    """Guard the guard: a tilted box where rounding alone picks a longer image."""
    vector = np.array([5.8, 5.9, 0.0])
    rounded = vector - np.round(vector @ np.linalg.inv(BOX)) @ BOX
    assert np.linalg.norm(shortest(vector, BOX)) < np.linalg.norm(rounded)


class Sample:
    """One checkpoint and what the authors' own network gives for it."""

    def __init__(self, name: str) -> None:
        checkpoint = read_checkpoint(SAMPLES / f"{name}.ckpt")
        with np.load(SAMPLES / f"{name}.npz") as file:
            self.values = {key: file[key] for key in file}
        self.parameters = checkpoint.parameters
        self.model = build_model(checkpoint, UNIT)
        self.system, self.frames = sample_system(self.values, self.parameters)
        self.stepper = PublishedStepper(self.model, self.parameters, [self.system])
        box = self.values["in_box"][self.parameters.seq_len - 1].astype(float)
        self.boxes = in_nm(np.diag(box)) if box.any() else None
        self.now = torch.tensor(self.frames[-1] * UNIT)
        self.moves = newest_first(self.frames)
        self.ahead = self.stepper.predict(self.now, self.moves, self.boxes)
        place = 2.0 * self.frames[-1] - self.frames[-2]
        self.place = torch.tensor(place) + self.ahead.mean


@pytest.fixture(
    scope="module", params=sorted(path.stem for path in SAMPLES.glob("*.npz")) or [None]
)
def sample(request: pytest.FixtureRequest) -> Sample:
    if request.param is None:
        pytest.skip("no samples in tests/data/graphwm or $CGML_GRAPHWM_SAMPLES")
    return Sample(request.param)


def test_sample_beads(sample):
    values = sample.values
    atoms = sample.model.embedding.embed_atoms(sample.system.atoms)
    close(atoms, values["out_fine_embedding"])
    close(sample.model.embedding(sample.system.atoms), values["out_bead_embedding"])
    close(sample.system.masses, values["out_bead_weights"])
    close(sample.frames.transpose(1, 0, 2), values["out_bead_positions"])


def test_sample_dynamics(sample):
    edges = sample.stepper.edges(torch.tensor(sample.frames[-1]), sample.boxes)
    assert len(edges.sender) == sample.values["out_n_edge"]
    close(sample.ahead.mean, sample.values["out_acceleration_mean"])
    close(sample.ahead.deviation, sample.values["out_acceleration_std"])
    close(sample.ahead.nodes, sample.values["out_latent"])
    close(sample.place, sample.values["out_next_position_from_mean"])


def test_sample_refinement_or_property(sample):
    values, parameters = sample.values, sample.parameters
    noise = torch.zeros(sample.stepper.n_draws, len(sample.now), 3)
    history = torch.tensor(sample.frames * UNIT)
    found = sample.stepper.step(history, sample.boxes, noise) / UNIT
    if parameters.name == "gns":
        radius = sample.stepper.property(sample.now, sample.moves, sample.boxes)
        close(radius / UNIT, values["out_radius_of_gyration_prediction"])
        close(found, values["out_next_position_from_mean"])
        return
    score = sample.stepper.score_given(sample.ahead, sample.boxes)(sample.place)
    close(score, values["out_score_network_output"])
    close(found, values["out_next_position_refined_noise_free"])
    close(noise_levels(parameters)[:: parameters.step_per_sigma], values["out_sigmas"])


def sample_system(
    sample: dict[str, Array], parameters: HyperParameters
) -> tuple[PublishedSystem, Array]:
    """Return system and bead frames; the authors' beads need not be connected."""
    types, labels = sample["in_types"], sample["in_cluster"]
    table = np.array([1.0, *ATOMIC_WEIGHTS.values()])
    masses = table[types] if parameters.use_atom_mass else np.ones(len(types))
    bead_masses = np.bincount(labels, weights=masses)
    shares = masses / bead_masses[labels]
    frames = np.zeros((parameters.seq_len, len(bead_masses), 3))
    for frame, atoms in zip(frames, sample["in_positions"], strict=False):
        np.add.at(frame, labels, shares[:, None] * atoms)
    sender, receiver = torch.tensor(sample["in_bonds"]).T
    atoms = Atoms(
        types=torch.tensor(types),
        masses=torch.tensor(masses[:, None]).float(),
        depths=torch.zeros(len(masses), 0),
        sender=sender,
        receiver=receiver,
        bond_types=torch.tensor(sample["in_bond_types"]),
        beads=torch.tensor(labels),
        bead_sizes=torch.tensor(np.bincount(labels)[:, None]).float(),
    )
    bonds = torch.tensor(sample["in_cg_bonds"])
    column = torch.tensor(bead_masses[:, None]).float()
    return PublishedSystem(atoms, bonds, column), frames


def test_the_container_has_no_surprises():
    model = Case(MELT).model
    assert isinstance(model, PublishedModel)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.property_head is None
    assert float(model.length_unit) == UNIT
