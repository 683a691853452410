"""Which observables of a model are judged: one file for each, found by its `MEASURE`.

A new observable is a new file here and nothing else.
"""

import importlib
import pkgutil

from cgml.evaluation.measure import Measure


def table() -> list[Measure]:
    """Return the measures of all files of this folder, in their places."""
    found: list[Measure] = [
        importlib.import_module(f"{__name__}.{item.name}").MEASURE
        for item in pkgutil.iter_modules(__path__)
    ]
    return sorted(found, key=lambda measure: measure.place)
