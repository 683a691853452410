"""What guards did, in words."""

from collections.abc import Mapping

from cgml.texts import counted

WORDS = {
    "finite": "positions not finite",
    "displacement": "displacement too large",
    "bond": "bond too long",
    "overlap": "beads too close",
    "extrapolation": "molecules beyond the training data",
}
"""Names of the guards, for readers."""


def tripped(counts: Mapping[str, int]) -> str:
    """Say which guards tripped, and how often."""
    trips = (f"{WORDS[key]} {counted(n, 'time')}" for key, n in counts.items() if n)
    return f"guards tripped: {', '.join(trips) or 'none'}"
