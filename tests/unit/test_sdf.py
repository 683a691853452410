"""MOL and SDF files: what is in them, and what is refused."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from cgml.formats import table
from cgml.formats.trajectory import read, read_topology

WATER = """heavy water
  program

  3  2  0  0  0  0            999 V2000
    0.0000    0.0000    1.5000 O   0  0  0  0
    0.9000    0.0000    1.5000 H   0  0  0  0
   -0.9000    0.1000    1.5000 D   0  0  0  0
  1  2  1  0
  1  3  1  0
M  END
"""
MANY = f"{WATER}$$$$\n{WATER.replace('heavy', 'more')}> <note>\n1\n\n$$$$\n\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["a.mol", "a.sdf", "molecules"])
def test_molecules_and_places(tmp_path: Path, name: str) -> None:
    """Known by its content, too; deuterium has its mass."""
    path = write(tmp_path / name, MANY)
    graph = read_topology(path)
    assert graph.types == ("O", "H", "H(2.014)") * 2
    assert graph.bonds.tolist() == [[0, 1], [0, 2], [3, 4], [3, 5]]
    assert graph.labels is not None
    assert graph.labels.names[:3] == ("O1", "H2", "D3")
    assert graph.labels.group_names == ("residue heavy 1", "residue more 2")
    frames = read(path, path)
    assert frames.times.tolist() == [0.0]
    np.testing.assert_allclose(frames.positions[0, 2], [-0.09, 0.01, 0.15], rtol=1e-6)
    assert frames.box is None


def test_compressed(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.sdf.gz", "wt") as stream:
        stream.write(WATER)
    assert read_topology(tmp_path / "a.sdf.gz").n_molecules == 1
    assert table.of_frames(tmp_path / "a.sdf.gz").name == "SDF"


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("V2000", "V3000", "version V3000: write it as V2000"),
        ("  1  3  1  0\nM  END\n", "", "3 atoms and 2 bonds are promised, it ends"),
        ("  1  3  1", "  1  4  1", "a bond joins an atom beyond the 3"),
        ("  1  3  1", "  1  x  1", "invalid literal"),
        ("  3  2  0", "  0  0  0", "a molecule has 0 atoms"),
        (WATER, "", "cut short"),
        (" O   0", " R#  0", "types and masses are required of heavy:R#1"),
    ],
)
def test_wrong_files(tmp_path: Path, old: str, new: str, match: str) -> None:
    path = write(tmp_path / "a.sdf", WATER.replace(old, new))
    with pytest.raises(ValueError, match=match):
        read_topology(path)
