"""cgml compile: the same numbers sooner, and nothing foreign is ever loaded."""

import json
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from core_systems import chain, coil, learned, mixture, small_spec
from reference_network import by_the_equations
from workflow_tools import in_process

from cgml.contract.lanes import LANES
from cgml.dynamics.propagator import Propagator
from cgml.models.file import save_model
from cgml.molecules.graph import MolecularGraph
from cgml.molecules.mapping import Mapping
from cgml.network import compiled
from cgml.network.arrivals import ArrivalInputs, made_up
from cgml.network.compiled import compiled_parts
from cgml.network.model import LearnedModel
from cgml.spec import Execution

pytestmark = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler"
)
BOX = np.array([[4.0, 0.0, 0.0], [1.0, 5.5, 0.0], [-1.5, 2.5, 6.5]])
MAPPINGS = [chain(), mixture(), chain("ABCD" * 9), chain("ABCDABCD")]
PERIODIC = small_spec(
    cutoff=2.5,
    reach=3.5,
    periodic=True,
    network={"n_vectors": 4, "atom_places": True, "chiral": True},
)
OPEN = small_spec(friction=None)
NAMES = ("predict", "evaluate")
SHORT = Execution(precision="bfloat16")


@pytest.fixture(scope="module", params=[PERIODIC, OPEN], ids=["periodic", "open"])
def model(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> LearnedModel:
    """A model that is compiled, from the command line."""
    small = learned(request.param)
    assert compiled_parts(small.spec, small.module, "float32") is None
    file = tmp_path_factory.mktemp("models") / "model.pt"
    save_model(file, small.spec, small.module)
    result = in_process("compile", file)
    assert result.returncode == 0, result.stderr
    assert str(folder_of(small)) in result.stdout
    return small


@pytest.fixture
def package(model: LearnedModel, tmp_path: Path) -> Path:
    """A copy of the package, to be spoilt."""
    copy = tmp_path / "package"
    shutil.copytree(folder_of(model), copy)
    return copy


def folder_of(model: LearnedModel) -> Path:
    return compiled._folder(model.spec, model.module, "float32")


def bound(model: LearnedModel, mappings: list[Mapping], **more: object) -> Propagator:
    box = BOX if model.spec.periodic else None
    return Propagator(model, mappings, seed=3, box=box, guard="record", **more)


def path(propagator: Propagator, n_steps: int) -> np.ndarray:
    beads = np.concatenate([coil(item) for item in propagator.mappings])
    state, frames = propagator.start(beads), []
    for _ in range(n_steps):
        state = propagator.step(state)
        frames.append(state.positions.numpy())
    return np.stack(frames)


def test_compiled_networks_go_the_way_of_the_equations(model):
    found = path(bound(model, MAPPINGS), 3)
    expected = path(by_the_equations(bound(model, MAPPINGS)), 3)
    np.testing.assert_allclose(found, expected, atol=5e-5)
    assert np.abs(np.diff(found, axis=0)).max() > 0.1
    usual = path(bound(model, MAPPINGS, execution=Execution(compiled=False)), 3)
    assert (found != usual).any(), "the compiled networks were not used"


def test_a_replica_alone_is_the_replica_in_a_batch(model):
    batch = bound(model, MAPPINGS)
    together = path(batch, 3)
    for number, part in enumerate(batch.slices):
        alone = bound(model, [MAPPINGS[number]], replica_ids=[number])
        np.testing.assert_array_equal(path(alone, 3), together[:, part])


def test_systems_of_any_size(model):
    """One bead, fewer rows than a product takes, ions without pairs, many beads."""
    ions = MolecularGraph.create("BDBDB", [2.0, 3.0, 2.0, 3.0, 2.0], [])
    apart = Mapping.from_labels(ions, np.arange(5))
    for mapping in (chain("AB"), chain("AABBA"), apart, chain("ABDC" * 20)):
        found = path(bound(model, [mapping]), 1)
        expected = path(by_the_equations(bound(model, [mapping])), 1)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=2e-5)


def test_short_numbers_are_compiled_for_themselves(tmp_path):
    network = {"n_vectors": 4, "chiral": True}
    model = learned(small_spec(cutoff=1.5, reach=2.0, friction=None, network=network))
    slow = Execution(precision="bfloat16", compiled=False)
    usual = path(bound(model, MAPPINGS, execution=slow), 2)
    save_model(tmp_path / "model.pt", model.spec, model.module)
    result = in_process("compile", tmp_path / "model.pt", "--precision", "bfloat16")
    assert result.returncode == 0, result.stderr
    assert compiled_parts(model.spec, model.module, "float32") is None
    batch = bound(model, MAPPINGS, execution=SHORT)
    found = path(batch, 2)
    longer = path(bound(model, MAPPINGS), 2)
    error, coarse = (np.sqrt(np.mean((usual - each) ** 2)) for each in (found, longer))
    assert 0.0 < error < coarse < 0.1
    alone = bound(model, [MAPPINGS[2]], replica_ids=[2], execution=SHORT)
    np.testing.assert_array_equal(path(alone, 2), found[:, batch.slices[2]])


def test_pairs_that_arrive_in_any_number():
    """None, few and many, of a reach that hardly any pair is within."""
    model = learned(small_spec(cutoff=2.0, reach=2.1, friction=None))
    compiled.compile_model(model)
    parts = compiled_parts(model.spec, model.module, "float32")
    assert parts is not None
    assert parts.arrive is not None
    for n in (1, 2, 3, 20):
        beads = [chain("ABCD" * 6)] * n
        stepper = bound(model, beads)
        found = path(stepper, 2)
        expected = path(by_the_equations(bound(model, beads)), 2)
        np.testing.assert_allclose(found, expected, atol=5e-5)
    inputs = list(made_up(5 * LANES, torch.Generator().manual_seed(0)))
    arrivals = model.module.arrivals
    expected = arrivals.evaluate(arrivals.pack(), ArrivalInputs(*inputs))
    (forces,) = parts.arrive(inputs)
    torch.testing.assert_close(forces, expected, atol=1e-5, rtol=1e-5)


def refused(folder: Path, text: str) -> None:
    """Require that a package is refused, with a reason."""
    with pytest.warns(RuntimeWarning, match=text):
        assert compiled.find(folder, NAMES) is None


def test_a_package_is_loaded_where_it_was_built(package):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compiled.find(package, NAMES) is not None


@pytest.mark.parametrize("key", ["processor", "torch", "version of cgml"])
def test_a_package_for_something_else_is_refused(package, key):
    label = json.loads((package / "built.json").read_text())
    label[key] = "another"
    (package / "built.json").write_text(json.dumps(label))
    refused(package, f"built for another {key}: another")


def test_a_package_that_changed_is_refused(package):
    whole = (package / "evaluate.pt2").read_bytes()
    (package / "evaluate.pt2").write_bytes(whole[: len(whole) // 2])
    refused(package, "evaluate.pt2 is not the file that was built")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3}'])
def test_a_damaged_label_is_refused(package, text):
    (package / "built.json").write_text(text)
    refused(package, "damaged")


def test_a_package_that_others_may_write_to_is_refused(package):
    (package / "predict.pt2").chmod(0o666)
    refused(package, "others than you own .*predict.pt2 or may write to it")


def test_a_folder_that_others_may_write_to_is_refused(package):
    package.parent.chmod(0o777)
    refused(package, f"others than you own {package.parent} or may write to it")


@pytest.mark.parametrize("name", ["built.json", "predict.pt2", ""])
def test_links_are_not_followed(package, name):
    place = (package / name).rename(package.parent / "elsewhere")
    (package / name).symlink_to(place)
    refused(package, "is a link or of another kind")


def test_what_cannot_be_read_is_passed_over(package):
    (package / "predict.pt2").unlink()
    refused(package, "it is damaged or cannot be read")


def test_nothing_is_loaded_from_beside_the_model(model, tmp_path):
    """A foreign model that brings its own package does not run it."""
    other = learned(model.spec, seed=1)
    save_model(tmp_path / "model.pt", other.spec, other.module)
    shutil.copytree(folder_of(model), tmp_path / "model")
    shutil.copy(folder_of(model) / "evaluate.pt2", tmp_path / "model.pt2")
    assert compiled_parts(other.spec, other.module, "float32") is None


def test_an_older_torch_is_refused_at_once(monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.12.1+cpu")
    with pytest.raises(compiled.CompilationError, match=r"torch 2\.13 .* is 2\.12\.1"):
        compiled.compile_model(learned(small_spec(), seed=7))


def test_without_a_compiler_the_error_says_what_is_needed(monkeypatch, tmp_path):
    small = learned(small_spec(), seed=7)
    save_model(tmp_path / "model.pt", small.spec, small.module)
    monkeypatch.setenv("CXX", str(tmp_path / "missing"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    result = in_process("compile", tmp_path / "model.pt")
    assert result.returncode == 1
    assert "needs a C++ compiler" in result.stderr
    above = folder_of(small).parent
    assert not folder_of(small).exists()
    assert not list(above.glob(".building*")), "remains of a package"
    assert above.stat().st_mode & 0o777 == 0o700
