"""What all tests share: markers by folder and one tiny model."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from core_systems import idle_model

from cgml.models.file import save_model
from cgml.spec import ModelSpec, NetworkConfig, Refinement, RousePrior, Statistics

MARKERS = {
    "unit": pytest.mark.unit,
    "physics": pytest.mark.physics,
    "adapters": pytest.mark.adapter,
    "workflows": pytest.mark.workflow,
}


@pytest.fixture(scope="session", autouse=True)
def heeds_interrupts() -> None:
    """Take SIGINT, which background jobs of a shell and their children ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep what a user has compiled out of the tests, and theirs out of the cache."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(cache))
        yield cache


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the marker of the folder it lies in."""
    root = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(root):
            marker = MARKERS.get(item.path.relative_to(root).parts[0])
            if marker is not None:
                item.add_marker(marker)


def tiny_spec() -> ModelSpec:
    """Describe a model of the copolymer chain, small enough to build in no time."""
    return ModelSpec(
        name="tiny",
        time_step=20.0,
        n_history=1,
        particle_types=dict.fromkeys("ABCD", 1.0),
        bond_types=["bond"],
        atoms_per_bead=5.0,
        partition="recursive",
        cutoff=None,
        periodic=False,
        temperature=120.272,
        friction=0.5,
        network=NetworkConfig(
            n_embedding=4,
            n_embedding_steps=1,
            n_node=8,
            n_edge=8,
            n_predictor_layers=1,
            n_refiner_layers=1,
        ),
        prior=RousePrior(rate=1.0, variance=1.5),
        refinement=Refinement(n_levels=3),
        statistics=Statistics(
            length_scale=2.2,
            displacement_scale=2.5,
            max_displacement=12.0,
            bond_length_range=(0.3, 5.0),
            min_distance=0.0,
            mean_degree=19.0,
        ),
        has_property=True,
        provenance={"made by": "the tests, untrained"},
    )


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained, stable model file: step 20 ps, 5 atoms per bead, types A to D."""
    path = tmp_path_factory.mktemp("model") / "tiny.pt"
    spec = tiny_spec()
    save_model(path, spec, idle_model(spec))
    return path
