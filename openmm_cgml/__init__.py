"""The learned propagator inside OpenMM.

    from openmm_cgml import LearnedCGIntegrator

    integrator = LearnedCGIntegrator("copolymer-chain", topology=topology)
    simulation = Simulation(topology, system, integrator)

Trajectories: OpenMM's own reporters are right. DCD headers hold the time between
frames as step size times interval, which MDAnalysis, VMD and cgml read; mdtraj takes
no times from any DCD file and counts frames, so prefer XTC for it.
"""

from typing import TYPE_CHECKING

from cgml.lazy import attach

if TYPE_CHECKING:
    from openmm_cgml.backmapped_reporter import BackmappedReporter
    from openmm_cgml.backmapper import Backmapper
    from openmm_cgml.beads import bead_simulation
    from openmm_cgml.convert import graph_from_topology
    from openmm_cgml.integrator import LearnedCGIntegrator
    from openmm_cgml.potential import cgml_force
    from openmm_cgml.reporter import GuardReporter

__all__ = [
    "BackmappedReporter",
    "Backmapper",
    "GuardReporter",
    "LearnedCGIntegrator",
    "bead_simulation",
    "cgml_force",
    "graph_from_topology",
]

if not TYPE_CHECKING:  # a type checker must see that other names do not exist
    __getattr__, __dir__ = attach(
        __name__,
        {
            "BackmappedReporter": "openmm_cgml.backmapped_reporter",
            "Backmapper": "openmm_cgml.backmapper",
            "GuardReporter": "openmm_cgml.reporter",
            "LearnedCGIntegrator": "openmm_cgml.integrator",
            "bead_simulation": "openmm_cgml.beads",
            "cgml_force": "openmm_cgml.potential",
            "graph_from_topology": "openmm_cgml.convert",
        },
    )
