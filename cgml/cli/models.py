"""cgml models: the bundled models and their cards."""

from typing import Annotated

import typer

from cgml.cli import console, options


def models(
    name: Annotated[
        str | None,
        typer.Argument(help="Show this model's card.", autocompletion=options.bundled),
    ] = None,
) -> None:
    """List the bundled models, or show the card of one.

    Time steps in ps, temperatures in K. Published checkpoints become model files by
    cgml import.

    For example:
        cgml models copolymer-chain
    """
    from rich.markdown import Markdown
    from rich.table import Column, Table
    from rich.text import Text

    from cgml.models.metadata import bundled_models, read_spec

    bundled, is_asked = bundled_models(), console.for_machines.get()
    if name is not None:
        if name not in bundled:
            known = ", ".join(bundled) or "none"
            raise ValueError(
                f"no bundled model is named {name!r}, there are: {known}; a model of "
                "cgml train has its card beside it, model.md"
            )
        if is_asked:
            console.emit(read_spec(bundled[name]).model_dump(mode="json"))
            return
        card = bundled[name].with_suffix(".md")
        console.out.print(Markdown(card.read_text(encoding="utf-8")))
        return
    if is_asked:
        specs = {key: read_spec(path) for key, path in bundled.items()}
        console.emit({key: spec.model_dump(mode="json") for key, spec in specs.items()})
        return
    name_column = Column("name", no_wrap=True)
    table = Table(name_column, "step / ps", "atoms per bead", "types", "box", "T / K")
    for key, path in bundled.items():
        spec = read_spec(path)
        table.add_row(
            Text(key),
            f"{spec.time_step:g}",
            f"{spec.atoms_per_bead:g}",
            Text(" ".join(spec.particle_types)),
            "periodic" if spec.periodic else "open",
            f"{spec.temperature:g}",
        )
    console.out.print(table)
    console.say("cgml models NAME shows a model's card")
