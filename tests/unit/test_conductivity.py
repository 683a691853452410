"""Conductivities and transference numbers of simple cases."""

import numpy as np
import pytest

from cgml.observables import conductivity
from cgml.observables.conductivity import Carrier, Conditions
from cgml.observables.statistics import Estimate
from cgml.units import SIEMENS_PER_METRE, thermal_energy

CONDITIONS = Conditions(volume=100.0, temperature=300.0)
CARRIERS = [
    Carrier(1.0, 10, Estimate(0.02, 0.001)),
    Carrier(-2.0, 5, Estimate(0.03, 0.002)),
    Carrier(0.0, 50, Estimate(9.0, 1.0)),
]


def test_nernst_einstein():
    result = conductivity.nernst_einstein(CARRIERS, CONDITIONS)
    scale = SIEMENS_PER_METRE / (100.0 * thermal_energy(300.0))
    assert result.value == pytest.approx(scale * (0.2 + 0.6))
    assert result.error == pytest.approx(scale * np.hypot(0.01, 0.04))


def test_si_value():
    """1 mol/l of ions of 1e-9 m^2/s each at 300 K: 2 c F^2 D / R T."""
    ion = Estimate(1e-9 * 1e18 / 1e12, 0.0)  # nm^2/ps
    number = 602214076
    box = Conditions(volume=1e9, temperature=300.0)
    carriers = [Carrier(1.0, number, ion), Carrier(-1.0, number, ion)]
    expected = 2 * 1000.0 * 96485.33212**2 * 1e-9 / (8.31446261815324 * 300.0)
    result = conductivity.nernst_einstein(carriers, box)
    assert result.value == pytest.approx(expected, rel=1e-8)


def test_self_transference_and_its_error():
    result = conductivity.self_transference(CARRIERS, 0)
    assert result.value == pytest.approx(0.25)
    step = 1e-6
    pushed = [
        [
            Carrier(
                c.charge, c.number, Estimate(c.diffusivity.value + step * (j == k), 0)
            )
            for j, c in enumerate(CARRIERS)
        ]
        for k in range(3)
    ]
    slopes = [
        (conductivity.self_transference(item, 0).value - 0.25) / step for item in pushed
    ]
    errors = [c.diffusivity.error for c in CARRIERS]
    assert result.error == pytest.approx(
        np.linalg.norm(np.multiply(slopes, errors)), rel=1e-4
    )


def test_dipole():
    positions = np.arange(12.0).reshape(2, 2, 3)
    result = conductivity.charge_dipole(positions, [1.0, -2.0])
    np.testing.assert_allclose(result, positions[:, 0] - 2 * positions[:, 1])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: conductivity.nernst_einstein([], CONDITIONS), "carrier with a charge"),
        (lambda: Conditions(0.0, 300.0).siemens, r"got 0 nm\^3 and 300 K"),
        (
            lambda: conductivity.charge_dipole(np.zeros((4, 2, 3)), [1.0]),
            r"each of the 2 positions.*\(1,\)",
        ),
    ],
)
def test_wrong_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
