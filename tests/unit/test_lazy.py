"""The public faces: names are found when they are asked for, not before."""

import subprocess
import sys

import pytest

import ase_cgml
import cgml
import openmm_cgml

FACES = ase_cgml, cgml, openmm_cgml
HEAVY = "torch", "mdtraj", "openmm", "scipy", "pandas", "h5py", "matplotlib", "ase"


def test_importing_a_face_imports_nothing_heavy():
    names = ", ".join(face.__name__ for face in FACES)
    code = f"import sys, {names}; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("face", FACES, ids=lambda face: face.__name__)
def test_every_public_name_is_there(face):
    assert set(face.__all__) <= set(dir(face))
    for name in face.__all__:
        value = getattr(face, name)
        assert name == "__version__" or value.__name__ == name
    with pytest.raises(AttributeError, match=rf"{face.__name__}' has no attribute 'no"):
        face.no_such_name  # noqa: B018
