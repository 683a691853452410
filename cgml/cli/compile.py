"""cgml compile: a model made faster on this machine."""

from cgml.cli import console, options


def compile_networks(
    model: options.Model, precision: options.Precision = "float32"
) -> None:
    """Compile a model for this machine: the same numbers to its precision, sooner.

    It needs a C++ compiler and a minute or two. What comes out is kept in your cache
    and used from then on, on the CPU and in this precision: commands that are given
    --precision bfloat16 need what was compiled with the same. Compiling again replaces
    it; other weights, another version of cgml or torch, and another processor need
    their own.

    For example:
        cgml compile polymer-electrolyte
    """
    from cgml.models.file import load_model
    from cgml.network.compiled import compile_model

    with console.working().status("compiling"):
        folder = compile_model(load_model(model), precision)
    console.say(f"compiled networks in {folder}")
    console.emit({"folder": str(folder)})
