"""Small inputs of whole workflows, and the command line as a function."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result
from workflow_tools import write_chains

from cgml.cli.app import app

Command = Callable[..., Result]


@pytest.fixture(scope="session")
def chains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two chains of 20 atoms, 12 frames each."""
    path = tmp_path_factory.mktemp("chains") / "pair.npz"
    return write_chains(path, n_chains=2, n_frames=12, seed=0)


@pytest.fixture
def cgml() -> Command:
    """Run the command line in this process."""

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(item) for item in arguments])

    return call
