"""Reference systems of the examples, in reduced Lennard-Jones units.

sigma = 1 nm, epsilon = 1 kJ/mol, m = 1 Da, hence tau = 1 ps; kT = epsilon.

| module | system |
|---|---|
| chains | copolymer chains in implicit solvent, open boundaries |
| electrolyte | ion-containing polymer melt in a periodic box |
"""

from openmm_cgml.testsystems.chains import (
    BJERRUM_LENGTH,
    BOND_LENGTH,
    BOND_STIFFNESS,
    CHARGE,
    CUTOFF,
    FRICTION,
    MASS,
    SIGMA,
    SPECIES,
    SWITCH,
    TEMPERATURE,
    TETHER,
    ChainSystem,
    copolymer_chain,
    packed_chains,
    random_sequence,
)
from openmm_cgml.testsystems.electrolyte import (
    ElectrolyteSystem,
    electrolyte_sequence,
    polymer_electrolyte,
)

__all__ = [
    "BJERRUM_LENGTH",
    "BOND_LENGTH",
    "BOND_STIFFNESS",
    "CHARGE",
    "CUTOFF",
    "FRICTION",
    "MASS",
    "SIGMA",
    "SPECIES",
    "SWITCH",
    "TEMPERATURE",
    "TETHER",
    "ChainSystem",
    "ElectrolyteSystem",
    "copolymer_chain",
    "electrolyte_sequence",
    "packed_chains",
    "polymer_electrolyte",
    "random_sequence",
]
