"""The table of what was read: one for all commands that read systems."""

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from cgml.cli import console
from cgml.molecules.summary import Kind, Summary
from cgml.texts import counted

_MOST_SYSTEMS = 3
_MOST_KINDS = 12
_MOST_ITEMS = 8


def show(summaries: Sequence[Summary], frames: str = "") -> None:
    """Print what was read: some systems in full, the others by number.

    Nothing where JSON or silence was asked for.

    Args:
        summaries: of the systems.
        frames: what stands in the row of frames in place of their times.
    """
    for item in summaries[:_MOST_SYSTEMS]:
        table = Table(
            title=Text(console.visible(_title(item))),
            title_justify="left",
            show_header=False,
        )
        for name, text in _rows(item):
            row = frames if frames and name == "frames" else text
            table.add_row(name, Text(console.visible(row)))
        console.show(table)
    rest = summaries[_MOST_SYSTEMS:]
    if rest:
        n_atoms = [item.n_atoms for item in rest]
        n_frames = [item.n_frames for item in rest]
        console.say(
            f"and {counted(len(rest), 'more system')} of {_range(n_atoms)} atoms and "
            f"{_range(n_frames)} frames: cgml inspect FILES --json shows all"
        )


def _title(item: Summary) -> str:
    counts = (item.n_atoms, "atom"), (item.n_molecules, "molecule")
    words = [counted(n, word) for n, word in (*counts, (item.n_beads, "bead"))]
    return f"{item.name or 'atoms'}: {', '.join(words)}"


def _rows(item: Summary) -> Iterable[tuple[str, str]]:
    """Yield what stands on the left and on the right of each line."""
    for kind in item.kinds[:_MOST_KINDS]:
        yield "molecules", _kind(kind)
    if item.n_left_out or len(item.kinds) > _MOST_KINDS:
        yield "", "... and more kinds"
    types = [
        f"{name} {_span(row.masses, 'Da')} ({row.count})"
        for name, row in item.types.items()
    ]
    yield "types", ", ".join(types)
    bonds = [
        f"{pair} ({row.count}"
        + (
            f", {_span((row.lengths[0], row.lengths[2]), 'nm')})"
            if row.lengths
            else ")"
        )
        for pair, row in item.bonds.items()
    ]
    yield "bonds", ", ".join(bonds) or "none"
    least, mean, most = item.bead_atoms
    sizes = str(least) if least == most else f"{least} to {most}, mean {mean:.3g}"
    yield "beads", f"{item.recipe or 'assigned by hand'}; atoms in a bead: {sizes}"
    if item.hands:
        yield "hands", _hands(item.hands)
    if item.rotation:
        times = (f"{name}: {time:.3g} ps" for name, time in item.rotation.items())
        yield "rotation", ", ".join(times)
    yield "frames", _frames(item)
    yield "box", _box(item)


def _kind(kind: Kind) -> str:
    """Describe the molecules of one kind."""
    beads = [f"{n} {name}" for name, n in kind.beads.items()]
    more = len(beads) - _MOST_ITEMS
    text = ", ".join(beads[:_MOST_ITEMS]) + (f", {more} others" if more > 0 else "")
    variants = f" in {kind.structures} structures" if kind.structures > 1 else ""
    return (
        f"{kind.count} x {kind.formula}{variants}: "
        f"{counted(kind.n_atoms, 'atom')}, {kind.mass:.5g} Da, "
        f"{counted(kind.n_beads, 'bead')} ({text})"
    )


def _hands(hands: dict[str, int]) -> str:
    """Describe the stereocentres."""
    counts = {name: n for name, n in hands.items() if name != "beads"}
    each = ", ".join(f"{n} {name}" for name, n in counts.items())
    return f"{sum(counts.values())} stereocentres in {hands['beads']} beads: {each}"


def _frames(item: Summary) -> str:
    """Describe the times."""
    if item.times is None:
        return "none"
    first, last = item.times
    if item.spacing is None:
        return f"1, at {first:g} ps"
    least, most = item.spacing
    is_even = most - least <= 1.0e-4 * most + 1.0e-6 * abs(last)
    step = f"{least:g}" if is_even else f"{least:g} to {most:g}"
    return f"{item.n_frames}, {first:g} to {last:g} ps, every {step} ps"


def _box(item: Summary) -> str:
    """Describe box and density."""
    if item.times is None:
        return "none"
    if item.box is None or item.density is None:
        return "open boundaries"
    edges = " x ".join(f"{item.box[k][k]:.4g}" for k in range(3))
    is_tilted = any(item.box[k][m] for k, m in ((1, 0), (2, 0), (2, 1)))
    tilts = f", tilted by {item.box[1][0]:.4g}, {item.box[2][0]:.4g}, "
    tilts += f"{item.box[2][1]:.4g}"
    text = f"{edges} nm{tilts if is_tilted else ''}; density {item.density:.4g} g/cm^3"
    if item.scaling:
        text += f"; the mean one or --box, frames scaled by up to {item.scaling:.2%}"
    return text


def _span(values: tuple[float, float], unit: str) -> str:
    """Write a range, or the one number that it is."""
    low, high = (f"{value:.5g}" if unit == "Da" else f"{value:.3f}" for value in values)
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
