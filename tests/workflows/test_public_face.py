"""What the packages give when they are imported: lazily, and with types."""

import subprocess
import sys
from pathlib import Path

import pytest
from workflow_tools import ROOT, environment

import ase_cgml
import cgml
import openmm_cgml

FACES = ase_cgml, cgml, openmm_cgml
HEAVY = "torch", "mdtraj", "openmm", "scipy", "pandas", "h5py", "matplotlib", "ase"
SCRIPT = """
import numpy as np

import ase_cgml
import cgml
import openmm_cgml
from cgml import Execution, Mapping, MolecularGraph, Propagator, State, load_model

model = load_model("copolymer-chain", "cpu")
bonds = [(i, i + 1) for i in range(99)]
graph = MolecularGraph.create("ABCD" * 25, np.ones(100), bonds)
mapping = Mapping.from_partition(graph, model.spec.atoms_per_bead)
propagator = Propagator(model, [mapping], seed=1, execution=Execution(compiled=False))
state: State = propagator.start(np.zeros((20, 3)))
state = propagator.step(state)
version: str = cgml.__version__
integrator = openmm_cgml.LearnedCGIntegrator("copolymer-chain", seed=1)
calculator = ase_cgml.CGMLDynamics("copolymer-chain", seed=1)
"""
WRONG = """
import cgml

model = cgml.load_model(1)
cgml.load_modle("copolymer-chain")
"""


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder of the user, who sees packages as installed."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_importing_costs_what_is_used(tmp_path):
    code = "import sys, cgml; dir(cgml); print(*sys.modules); cgml.Execution; "
    done = python(
        tmp_path, "-c", code + "print(*sys.modules); cgml.Propagator; cgml.State"
    )
    assert done.returncode == 0, done.stderr
    bare, spec = (set(line.split()) for line in done.stdout.splitlines())
    assert not {"torch", "numpy", "pydantic", "typer", "rich"} & bare
    assert {item for item in bare if item.startswith("cgml.")} == {"cgml.lazy"}
    assert "cgml.spec" in spec
    assert not {"torch", "lightning", "scipy"} & spec


def test_importing_the_faces_imports_nothing_heavy(tmp_path):
    names = ", ".join(face.__name__ for face in FACES)
    code = f"import sys, {names}; print([n for n in {HEAVY} if n in sys.modules])"
    done = python(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_every_public_name_is_there_once(face):
    assert set(face.__all__) <= set(dir(face))
    for name in face.__all__:
        found = getattr(face, name)
        assert getattr(face, name) is found
        assert name == "__version__" or found.__name__ == name
    with pytest.raises(AttributeError, match=rf"{face.__name__}' has no attribute 'no"):
        face.no_such_name  # noqa: B018


def test_names_of_the_core_lead_to_its_packages():
    assert cgml.load_model.__module__ == "cgml.models.file"
    with pytest.raises(AttributeError, match="'cgml' has no attribute 'load_modle'"):
        _ = cgml.load_modle  # type: ignore[attr-defined]


def test_types_reach_the_user(tmp_path):
    """Under mypy --strict a right script passes, and a wrong one does not."""
    for package in ("cgml", "openmm_cgml", "ase_cgml"):
        assert (ROOT / package / "py.typed").is_file()
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "wrong.py").write_text(WRONG)
    cache = ROOT / ".mypy_cache" / "user"
    flags = ["--strict", "--config-file=", "--cache-dir", str(cache)]
    flags += ["--no-error-summary", "--hide-error-context", "--no-pretty"]
    scripts = [str(tmp_path / name) for name in ("script.py", "wrong.py")]
    done = python(tmp_path, "-m", "mypy", *flags, *scripts)
    lines = [line.rpartition("wrong.py:")[2] for line in done.stdout.splitlines()]
    kinds = [line.rpartition("[")[2] for line in lines if "error:" in line]
    assert kinds == ["arg-type]", "attr-defined]"], done.stdout + done.stderr
    assert "script.py" not in done.stdout
