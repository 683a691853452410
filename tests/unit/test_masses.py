"""One tolerance for masses, wherever they are compared."""

import numpy as np
import pytest

from cgml.molecules.masses import differing, names_of

KNOWN = {"H": 1.008, "C": 12.011, "N": 14.007, "CH2": 14.027, "X": 40.0, "Y": 40.0}


@pytest.mark.parametrize(
    ("mass", "names"),
    [
        (1.0, ["H"]),
        (12.0, ["C"]),
        (14.007, ["N"]),
        (14.027, ["CH2"]),
        (14.016, ["N"]),
        (13.0, []),
        (40.01, ["X", "Y"]),
        (np.nan, []),
    ],
)
def test_names(mass: float, names: list[str]) -> None:
    assert names_of(mass, KNOWN) == names


def test_no_names_are_known() -> None:
    assert names_of(1.0, {}) == []


def test_what_differs() -> None:
    expected = np.array([12.011, 1.008, 14.007, 1.0])
    own = np.array([12.0, 1.0, 14.027, np.nan])
    assert differing(own, expected).tolist() == [2, 3]
