"""Units inside cgml: nm, ps, Da, K, kJ/mol, e. Every constant and factor is here.

They are consistent: 1 Da nm^2/ps^2 is 1 kJ/mol, so no formula carries a factor.
Adapters convert at their border and nowhere else.
"""

BOLTZMANN = 8.31446261815324e-3
"""Molar gas constant R = k_B N_A (exact, SI 2019), kJ/mol/K."""

COULOMB = 138.935456
"""Coulomb constant, kJ/mol nm/e^2, with the digits of OpenMM and of the data."""

ANGSTROM = 0.1
"""One Angstrom, nm."""

FEMTOSECOND = 1.0e-3
"""One femtosecond, ps."""

AKMA_TIME = 4.888821e-2
"""Time unit of the CHARMM family (DCD headers), ps, with the digits readers use."""

DENSITY = 1.66053907e-3
"""One Da/nm^3, g/cm^3."""

SIEMENS_PER_METRE = 15458.654465
"""One e^2/(nm ps kJ/mol), the conductivity of these units, S/m (exact SI 2019)."""


def thermal_energy(temperature: float) -> float:
    """Return k_B T.

    Args:
        temperature: temperature, K.

    Returns:
        Thermal energy, kJ/mol.
    """
    return BOLTZMANN * temperature
