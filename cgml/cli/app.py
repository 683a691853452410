"""The application: its name, what holds for all commands, and the table of them.

Heavy libraries are imported by the command that needs them, so help is quick.
"""

import logging
import os
from collections.abc import Callable
from inspect import cleandoc
from pkgutil import resolve_name
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from cgml import __version__
from cgml.cli import answers, console, options
from cgml.cli.baseline import baseline
from cgml.cli.compile import compile_networks
from cgml.cli.evaluate import evaluate
from cgml.cli.examples import examples
from cgml.cli.export import export
from cgml.cli.import_ import import_model
from cgml.cli.inspect import inspect
from cgml.cli.join import join
from cgml.cli.models import models
from cgml.cli.prepare import prepare
from cgml.cli.run import run
from cgml.cli.train import train
from cgml.cli.train_potential import train_potential
from cgml.cli.view import view
from cgml.interrupts import end_at_once
from cgml.memory import keep_freed_memory

COMMANDS: dict[str, Callable[..., None]] = {
    "inspect": inspect,
    "prepare": prepare,
    "train": train,
    "train-potential": train_potential,
    "export": export,
    "import": import_model,
    "join": join,
    "run": run,
    "view": view,
    "evaluate": evaluate,
    "baseline": baseline,
    "compile": compile_networks,
    "models": models,
    "examples": examples,
    # of an adapter, found by its name: the core imports none
    "backmap": resolve_name("openmm_cgml.backmap:backmap"),
}


class Command(TyperCommand):
    """A command whose arguments stand in capitals, as its text names them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse what a shell makes of a pattern without quotes, then read the rest.

        The first file would be the option's, the others arguments: frames to fit, say,
        in the place of frames to validate.
        """
        if ctx.resilient_parsing:  # the shell completes a line
            return super().parse_args(ctx, args)
        takes_value = {
            name
            for item in self.params
            if not getattr(item, "is_flag", True)
            for name in item.opts
        }
        # arguments may stand behind an option, but not on both sides of it
        begun = all(item.param_type_name == "option" for item in self.params)
        words = iter(args)
        last = ""
        for word in words:
            is_word = not word.startswith("-")
            if is_word and begun and last in options.PATTERNS:
                raise typer.BadParameter(
                    f"one file or a pattern in quotes is required, {word} follows: "
                    f"write {last} 'FOLDER/*', or {last} before each file; arguments "
                    "stand together",
                    ctx,
                    param_hint=f"'{last}'",
                )
            begun, last = begun or is_word, ""
            if word in takes_value:
                next(words, None)
                last = word
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return arguments and options."""
        for item in self.params:
            if item.param_type_name == "argument":
                item.metavar = str(item.name).upper()
        return super().get_params(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the line of usage, without braces."""
        pieces = super().collect_usage_pieces(ctx)
        return [piece.translate({ord("{"): "", ord("}"): ""}) for piece in pieces]


app = typer.Typer(
    name="cgml",
    no_args_is_help=True,
    epilog="Exit codes: "
    + "; ".join(f"{code} {text}" for code, text in console.EXIT_CODES.items())
    + ".",
    rich_markup_mode=None,  # panels cut long names of options
    pretty_exceptions_enable=False,
)


def _version(*, asked: bool) -> None:
    if asked:
        console.out.print(f"cgml {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def main(
    threads: Annotated[
        int,
        typer.Option(
            min=1,
            max=1024,
            envvar="OMP_NUM_THREADS",
            help="CPU threads of each process. More than one pays for large systems on "
            "idle cores only; share replicas among --workers instead.",
        ),
    ] = 1,
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar="CGML_DEBUG", help="Show where errors arise."),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print warnings and errors, no more."),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Print versions and time taken, too."),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print it and leave."
        ),
    ] = False,
) -> None:
    """Learned coarse-grained molecular dynamics. Units: nm, ps, Da, K, kJ/mol.

    Options of cgml itself stand before the command: cgml -q run ...
    """
    del version  # its callback has answered
    if quiet and verbose:
        raise typer.BadParameter("--quiet and --verbose exclude each other")
    loudness = console.Loudness(1 - quiet + verbose)
    console.loudness.set(loudness)
    console.for_machines.set(False)  # until --json is read
    logging.getLogger("cgml").setLevel(logging.INFO if verbose else logging.WARNING)
    console.show_traceback.set(debug)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # both read when torch is imported
    # threads that spin while they wait stop each other where cores are shared
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()


for _name, _command in COMMANDS.items():
    _help = cleandoc(_command.__doc__ or "")
    app.command(
        _name,
        cls=Command,
        help=_help.replace("For example:", "\b\nFor example:"),  # lines stay lines
        short_help=_help.partition("\n")[0],
        no_args_is_help=_name not in ("models", "examples"),
        epilog=answers.explained(_name),
    )(console.with_plain_errors(answers.answering(_command)))


def start() -> None:
    """Run the command line of this process."""
    end_at_once()  # a command that has begun ends as it must, and says so
    console.print_anywhere()
    console.say_no_more_of_ends()
    logging.basicConfig(handlers=[console.Teller()])
    app()
