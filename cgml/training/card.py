"""The card of a model trained here: what it is of, and what it does not claim."""

from pathlib import Path

from cgml.files import replacing
from cgml.spec import BaseSpec


def write_card(path: Path, spec: BaseSpec) -> None:
    """Write a page of Markdown about a model.

    Args:
        path: the file, .md.
        spec: of the model.
    """
    kept = {"hydrogens": spec.keep_hydrogens, "groups": spec.keep_groups}
    whole = " and ".join(name for name, is_kept in kept.items() if is_kept)
    masses = ", ".join(f"{name} ({m:g} Da)" for name, m in spec.particle_types.items())
    rows = {
        "particle types": masses,
        "atoms per bead": f"{spec.atoms_per_bead:g} (partition {spec.partition})"
        + (f", {whole} kept whole" if whole else ""),
        "boundaries": "periodic boxes" if spec.periodic else "open",
        "time step": f"{spec.time_step:g} ps",
        "temperature": f"{spec.temperature:g} K",
        **spec.provenance,
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    text = "\n".join([f"# {spec.name}", "", "| | |", "|---|---|", *lines, ""])
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
