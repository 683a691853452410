"""Reference systems of the examples.

| module | system |
|---|---|
| chains | copolymer chains in implicit solvent, open boundaries |
| electrolyte | ion-containing polymer melt in a periodic box |
| peo | PEO with LiTFSI, united or all atoms, in a periodic box |
| alanine | a chain of L- or D-alanine, all atoms, for a force field of OpenMM |

Their reference dynamics are chain_runs, electrolyte_runs and peo_runs.

The first two are in reduced Lennard-Jones units: sigma = 1 nm, epsilon = 1 kJ/mol,
m = 1 Da, hence tau = 1 ps; kT = epsilon. The third is in those of the laboratory.
"""

from openmm_cgml.testsystems.alanine import AlanineChain, alanine_chain
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
from openmm_cgml.testsystems.force_field import peo_system
from openmm_cgml.testsystems.peo import PeoSystem, peo_litfsi

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
    "AlanineChain",
    "ChainSystem",
    "ElectrolyteSystem",
    "PeoSystem",
    "alanine_chain",
    "copolymer_chain",
    "electrolyte_sequence",
    "packed_chains",
    "peo_litfsi",
    "peo_system",
    "polymer_electrolyte",
    "random_sequence",
]
