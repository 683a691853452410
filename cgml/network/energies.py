"""Which networks of energies there are, ready to compute, and as a file holds them."""

from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from cgml.network.potential import MessageEnergy, stored_name
from cgml.network.tensornet import tensornet
from cgml.spec import ModelSpec, PotentialSpec


def build_energy(spec: ModelSpec, potential: PotentialSpec) -> Any:
    """Build the network of a potential, an EnergyNetwork with its first weights.

    Raises:
        ValueError: torchmd-net is needed and not installed.
    """
    if potential.network == "tensornet":
        return tensornet(spec, potential)
    return MessageEnergy(spec, potential)


def stored(
    potential: PotentialSpec, energy: nn.Module
) -> tuple[PotentialSpec, dict[str, torch.Tensor]]:
    """A potential as a file says it, and its weights under the names there."""
    weights = {name: own.detach().clone() for name, own in energy.state_dict().items()}
    if potential.network != "tensornet":
        return potential, weights
    weights = {name: own.float() for name, own in weights.items()}
    shapes = {name: list(own.shape) for name, own in weights.items()}
    kept = {stored_name(name): own for name, own in weights.items()}
    made = potential.provenance | {"torchmd-net": version("torchmd-net")}
    return potential.model_copy(update={"weights": shapes, "provenance": made}), kept


def restored(spec: ModelSpec, potential: PotentialSpec, module: nn.Module) -> Any:
    """The network of a potential with the weights that a file holds.

    Args:
        spec: of the model.
        potential: of the model.
        module: `potential` of a Model.

    Raises:
        ValueError: torchmd-net is needed and not installed, or is one of other names.
    """
    energy, own = build_energy(spec, potential), module.state_dict()
    if potential.network == "tensornet":
        own = {name: own[stored_name(name)] for name in potential.weights}
    try:
        energy.load_state_dict(own)
    except RuntimeError as error:
        raise ValueError(
            f"the potential of model {spec.name!r} has other weights than this "
            "version of torchmd-net: install the version that it was made with, "
            f"{potential.provenance.get('torchmd-net', 'which it does not say')}"
        ) from error
    return energy
