r"""Ionic conductivity and transference numbers.

Self: Nernst and Einstein, :math:`\sigma = \sum_s N_s q_s^2 D_s / (V k_B T)`, as if
ions moved independently. Collective: Einstein and Helfand,
:math:`\sigma = \lim_{t \to \infty} \langle |\Delta M(t)|^2 \rangle / (6 t V k_B T)`
with the charge dipole :math:`M = \sum_i q_i r_i` of unwrapped positions. Charges are
in e; the unit inside, e^2/(nm ps kJ/mol), becomes S/m by `units.SIEMENS_PER_METRE`.

References:
    Allen and Tildesley, Computer Simulation of Liquids, 2nd ed. (2017), section 2.7.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cgml.observables.statistics import Estimate
from cgml.observables.transport import (
    Displacement,
    Window,
    diffusivity,
    mean_squared_displacement,
)
from cgml.units import SIEMENS_PER_METRE, thermal_energy

Floats = NDArray[np.float64]


class Carrier(NamedTuple):
    """One kind of ion.

    Attributes:
        charge: e.
        number: of such ions.
        diffusivity: nm^2/ps.
    """

    charge: float
    number: int
    diffusivity: Estimate


class Conditions(NamedTuple):
    """Where the ions are: volume, nm^3, and temperature, K."""

    volume: float
    temperature: float

    @property
    def siemens(self) -> float:
        """S/m for a charge-weighted diffusivity of 1 e^2 nm^2/ps."""
        if not (self.volume > 0.0 and self.temperature > 0.0):
            raise ValueError(
                "a positive volume and temperature are required, got "
                f"{self.volume:g} nm^3 and {self.temperature:g} K"
            )
        return SIEMENS_PER_METRE / (self.volume * thermal_energy(self.temperature))


def nernst_einstein(carriers: Sequence[Carrier], conditions: Conditions) -> Estimate:
    """Return the conductivity of ions that move independently.

    Args:
        carriers: kinds of ions.
        conditions: volume and temperature.

    Returns:
        S/m; errors of the kinds add in squares.
    """
    terms = _terms(carriers)
    return Estimate(
        conditions.siemens * float(terms[:, 0].sum()),
        conditions.siemens * float(np.linalg.norm(terms[:, 1])),
    )


def self_transference(carriers: Sequence[Carrier], kind: int) -> Estimate:
    r"""Return the share of one kind of ion in the Nernst-Einstein conductivity.

    Args:
        carriers: kinds of ions.
        kind: the one in question.

    Returns:
        :math:`t = N q^2 D / \sum_s N_s q_s^2 D_s`, 0 to 1.
    """
    values, errors = _terms(carriers).T
    total = values.sum()
    share = values[kind] / total
    weights = np.full(len(values), -share)
    weights[kind] += 1.0
    return Estimate(float(share), float(np.linalg.norm(weights * errors) / total))


def charge_dipole(positions: ArrayLike, charges: ArrayLike) -> Floats:
    r"""Return :math:`M = \sum_i q_i r_i`.

    Args:
        positions: unwrapped, (..., n, 3) nm.
        charges: (n,) e.

    Returns:
        (..., 3) e nm.

    Raises:
        ValueError: numbers of positions and of charges differ.
    """
    points = np.asarray(positions, dtype=np.float64)
    weights = np.asarray(charges, dtype=np.float64)
    if weights.shape != points.shape[-2:-1]:
        raise ValueError(
            f"one charge for each of the {points.shape[-2]} positions is required, got "
            f"shape {weights.shape}"
        )
    return np.asarray(np.einsum("i,...ix->...x", weights, points))


def dipole_displacement(
    dipole: ArrayLike,
    time_step: float,
    *,
    longest: float | None = None,
    n_blocks: int = 5,
) -> Displacement:
    """Return the mean squared displacement of a charge dipole.

    One dipole moves where many ions did: errors need blocks in time.

    Args:
        dipole: (n_frames, 3) or (n_runs, n_frames, 3) e nm.
        time_step: time between frames, ps.
        longest: largest lag, ps; None: a quarter of a block.
        n_blocks: pieces of each run.

    Returns:
        Values in e^2 nm^2.
    """
    moments = np.asarray(dipole, dtype=np.float64)[..., None, :]
    return mean_squared_displacement(
        moments, time_step, longest=longest, n_blocks=n_blocks
    )


def collective_conductivity(
    displacement: Displacement,
    conditions: Conditions,
    *,
    window: Window | None = None,
) -> Estimate:
    """Return the conductivity with all correlations between ions.

    Args:
        displacement: of the charge dipole of all ions, from `dipole_displacement`.
        conditions: volume and temperature.
        window: first and last lag of the fit, ps; None: where it is diffusive.

    Returns:
        S/m.
    """
    fit = diffusivity(displacement, window=window)
    return Estimate(conditions.siemens * fit.value, conditions.siemens * fit.error)


def _terms(carriers: Sequence[Carrier]) -> Floats:
    """N q^2 D of each kind and its error, (n_kinds, 2), e^2 nm^2/ps."""
    if not carriers or not any(item.charge for item in carriers):
        raise ValueError("a carrier with a charge is required, got none")
    return np.array(
        [
            [item.number * item.charge**2 * part for part in item.diffusivity]
            for item in carriers
        ]
    )
