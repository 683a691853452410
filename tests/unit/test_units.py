import math

import pytest
from scipy import constants

from cgml import units


def test_constants_are_those_of_codata() -> None:
    angstrom, dalton, kcal = 1e-10, constants.atomic_mass, 4184 / constants.N_A
    akma = math.sqrt(dalton * angstrom**2 / kcal) / constants.pico
    coulomb = constants.e**2 * constants.N_A / (4 * math.pi * constants.epsilon_0)
    assert pytest.approx(constants.R / 1000, rel=1e-12) == units.BOLTZMANN
    assert pytest.approx(akma, rel=1e-6) == units.AKMA_TIME
    assert pytest.approx(coulomb * 1e9 / 1e3, rel=1e-6) == units.COULOMB


def test_conductivity_unit() -> None:
    energy = 1000 / constants.N_A
    siemens = constants.e**2 / (constants.nano * constants.pico * energy)
    assert pytest.approx(siemens, rel=1e-10) == units.SIEMENS_PER_METRE


def test_energy_unit_is_consistent() -> None:
    joule = constants.atomic_mass * (constants.nano / constants.pico) ** 2
    assert joule * constants.N_A / 1000 == pytest.approx(1.0, rel=1e-8)


def test_thermal_energy_of_the_reduced_unit_temperature() -> None:
    assert units.thermal_energy(120.272) == pytest.approx(1.0, rel=1e-5)
