"""Whether training data have a left and a right that a model will not see."""

from collections.abc import Sequence

from cgml.molecules.frames import BeadTrajectory
from cgml.observables.chains import dihedral_quadruplets, signed_volumes
from cgml.observables.statistics import mean_estimate

N_FRAMES = 200  # of a system that are looked at
LEAST_VOLUME = 0.05  # mean signed volume of three bonds that is told from none
LEAST_ERRORS = 5.0


def handedness_of(systems: Sequence[BeadTrajectory]) -> str:
    """Say what is handed in systems, in words; "" if nothing is.

    Atoms of a hand are named, or else beads: the mean signed volume of three bonds in a
    row (`signed_volumes`) of a system, where it is not zero within its error.
    """
    for item in systems:
        counts = item.mapping.hand_counts
        n = sum(counts.get(name, 0) for name in ("R", "S"))
        if n:
            return f"{item.name!r} has {n} stereocentres"
    for item in systems:
        paths = dihedral_quadruplets(item.mapping.bead_bonds)
        frames = item.positions[:: max(1, len(item.positions) // N_FRAMES)]
        if not len(paths) or len(frames) < 3:
            continue
        found = mean_estimate(signed_volumes(frames, paths)[1].mean(axis=1))
        if abs(found.value) > max(LEAST_VOLUME, LEAST_ERRORS * found.error):
            side = "right" if found.value > 0.0 else "left"
            return (
                f"the beads of {item.name!r} wind to the {side} (signed volume of "
                f"three bonds {found.value:+.2f} ± {found.error:.2f})"
            )
    return ""


def warnings_of(systems: Sequence[BeadTrajectory], *, is_chiral: bool) -> list[str]:
    """Warn of data with a left and a right for a model that tells none."""
    found = "" if is_chiral else handedness_of(systems)
    if not found:
        return []
    text = (
        f"warning: {found}, and this model does not tell left from right: it will take "
        "a molecule and its mirror image for the same; write chiral = true and "
        "n_vectors = 8 under [network]"
    )
    return [text]
