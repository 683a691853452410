"""What decides the last bits of a run beside its options: where it is computed, how.

A run that goes on keeps these, or is refused.
"""

import logging
from pathlib import Path
from typing import Any

import torch

from cgml import machine, plans
from cgml.contract.device import checked_device
from cgml.network.compiled import compiled_parts
from cgml.network.model import LearnedModel
from cgml.spec import Execution, Precision

CONDITIONS = "conditions"
LOGGER = logging.getLogger(__name__)


def conditions_of(
    model: LearnedModel, execution: Execution, device: str
) -> dict[str, Any]:
    """Say under which conditions a run is computed in this process.

    Args:
        model: with its networks.
        execution: how the networks are evaluated.
        device: where.

    Returns:
        The machine (versions, processor, device), CPU threads, and whether compiled
        networks are used.
    """
    is_compiled, precision = False, execution.precision
    if execution.compiled and device == "cpu" and model.spec.is_compilable:
        is_compiled = any(_has_parts(member, precision) for member in model.members)
    return {
        "machine": machine.kind(str(checked_device(device))),
        "threads": torch.get_num_threads(),
        "compiled": is_compiled,
    }


def _has_parts(member: LearnedModel, precision: Precision) -> bool:
    """Whether networks are compiled on this machine."""
    spec: Any = member.spec
    return compiled_parts(spec, member.module, precision) is not None


def settle(
    found: dict[str, Any] | None, now: dict[str, Any], output: Path
) -> dict[str, Any]:
    """Go on under the conditions of a run; what can be had here is taken.

    Args:
        found: those of the run; None: an older version did not note them.
        now: those of this process.
        output: folder of the run.

    Returns:
        Those of the run.

    Raises:
        ValueError: they cannot be had here; each that differs is named.
    """
    if found is None:
        LOGGER.warning(
            "the run in %s is of a version that did not note machine, threads and "
            "compiled networks: if they were others, so are the bits from here on",
            output,
        )
        return now
    changed = plans.changes(found, now)
    threads = changed.pop("threads", None)
    if changed.get("compiled") == (False, True):
        del changed["compiled"]
        LOGGER.warning("the run in %s goes on without compiled networks", output)
    if changed:
        advice = "go on where these are the same, or choose another folder"
        if "compiled" in changed:
            advice += " (cgml compile MODEL makes compiled networks)"
        raise ValueError(
            f"the run in {output} was started with {plans.describe(changed)}; its bits "
            f"would be others from here on: {advice}"
        )
    if threads is not None:
        LOGGER.warning("the run in %s goes on with %s CPU threads", output, threads[0])
        torch.set_num_threads(int(str(threads[0])))
    return found
