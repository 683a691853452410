"""Models of one kind, with weights of their own, become the members of one model."""

from collections.abc import Sequence
from typing import Any

from cgml.models.ensemble import Ensemble
from cgml.network.model import LearnedModel, fingerprint

OWN = {"name", "provenance", "seen", "n_members", "calibration"}
"""What members may say otherwise: of the first, or joined."""
MAX_MEMBERS = 64


def join(models: Sequence[LearnedModel]) -> LearnedModel:
    """Make one model of several; an ensemble among them brings all its members.

    Args:
        models: whose specs agree in all that decides a step.

    Raises:
        ValueError: there are fewer than two members or more than 64, two have the same
            weights, or they are of other networks, steps, scales or beads; the first
            difference is named.
    """
    members = [member for model in models for member in model.members]
    if not 2 <= len(members) <= MAX_MEMBERS:
        raise ValueError(
            f"an ensemble has 2 to {MAX_MEMBERS} members, got {len(members)}"
        )
    first = members[0]
    for number, member in enumerate(members[1:], 1):
        difference = _difference(_said(first), _said(member))
        if difference:
            raise ValueError(
                "members of one ensemble agree in all but their weights, member "
                f"{number} ({member.spec.name!r}) has {difference}: train them with "
                "one file (ensemble = 3), or by cgml train --from one model"
            )
    digests = [fingerprint("", member.module) for member in members]
    if len(set(digests)) < len(digests):
        raise ValueError(
            "members of an ensemble have weights of their own, two of these "
            f"{len(members)} are the same model: give each once"
        )
    seeds = [member.spec.provenance.get("seed", "?") for member in members]
    spec = first.spec.with_members(len(members)).model_copy(
        update={
            "provenance": first.spec.provenance | {"seed": ", ".join(seeds)},
        }
    )
    return LearnedModel(spec, Ensemble([member.module for member in members]))


def _said(member: LearnedModel) -> dict[str, Any]:
    """What decides a step."""
    return member.spec.model_dump(mode="json", exclude=OWN)


def _difference(one: dict[str, Any], other: dict[str, Any], place: str = "") -> str:
    """Name the first entry that differs."""
    for key in {**one, **other}:
        mine, its = one.get(key), other.get(key)
        if mine == its:
            continue
        if isinstance(mine, dict) and isinstance(its, dict):
            return _difference(mine, its, f"{place}{key}.")
        return f"{place}{key} = {its}, the first has {mine}"
    return ""
