"""Published checkpoints of any size, with random weights."""

from pathlib import Path
from typing import Any

import torch

from cgml.models.conversion import Origin, describe
from cgml.published.spec import HyperParameters, PublishedSpec

Weights = dict[str, torch.Tensor]

CHAIN: dict[str, Any] = {
    "name": "gns",
    "seq_len": 4,
    "dilation": 1,
    "cg_level": 3,
    "radius": 200.0,
    "type_emb_size": 5,
    "num_ptypes": 5,
    "num_btypes": 0,
    "use_atom_mass": False,
    "use_weights": False,
    "min_std": 0.1,
    "embedding_gn_hparams": {"latent_dim": 6, "units": 7, "layers": 2, "mp_steps": 2},
    "dynamics_gn_hparams": {"latent_dim": 8, "units": 9, "layers": 1, "mp_steps": 3},
    "property_net_hparams": {"units": 11, "layers": 2, "out_dim": 1},
}
MELT: dict[str, Any] = CHAIN | {
    "name": "pnr",
    "radius": 6.0,
    "num_ptypes": 20,
    "num_btypes": 12,
    "use_atom_mass": True,
    "use_weights": True,
    "min_std": 0.05,
    "property_net_hparams": False,
    "score_gn_hparams": {"latent_dim": 7, "units": 6, "layers": 3, "mp_steps": 1},
    "sigma_begin": 10.0,
    "sigma_end": 0.1,
    "sigma_level": 3,
    "step_per_sigma": 2,
    "step_size": 1e-2,
}
OPTIONS: dict[str, dict[str, Any]] = {  # every option away from the two usual models
    "chain": CHAIN,
    "melt": MELT,
    "masses, no weights": MELT | {"use_weights": False},
    "weights, no masses": CHAIN | {"use_weights": True, "radius": 6.0},
    "no bond types": MELT | {"num_btypes": 0},
    "bond types": CHAIN | {"num_btypes": 3, "property_net_hparams": False},
    "score and head": MELT
    | {
        "property_net_hparams": {"units": 5, "layers": 1, "out_dim": 2},
        "sigma_level": 1,
        "seq_len": 2,
    },
    "no messages": MELT
    | {
        "embedding_gn_hparams": {
            "latent_dim": 4,
            "units": 3,
            "layers": 1,
            "mp_steps": 0,
        }
    },
    "no hidden layers": CHAIN
    | {
        "dynamics_gn_hparams": {
            "latent_dim": 8,
            "units": 9,
            "layers": 0,
            "mp_steps": 2,
        }
    },
}


def hyper_parameters(base: dict[str, Any]) -> dict[str, Any]:
    """Return a copy, with some keys that shape no network."""
    return {**base, "noise_level": 20, "logging": None, "dimension": 3}


def write(path: Path, content: Any) -> Path:
    """Save as the framework does: a zip with a pickle of protocol 2."""
    torch.save(content, path)
    return path


def random_weights(
    parameters: dict[str, Any], seed: int = 0, n_embedding: int = 6
) -> Weights:
    """Draw all weights that the layout asks for."""
    draw = _Draw(parameters, seed)
    n_type, has_mass = parameters["type_emb_size"], int(parameters["use_weights"])
    width = parameters["dynamics_gn_hparams"]["latent_dim"]
    draw.normal("type_embedding.weight", parameters["num_ptypes"], n_type)
    draw.normal("edge_type_embedding.weight", 2, n_type)
    if parameters["num_btypes"]:
        draw.normal("bond_type_embedding.weight", parameters["num_btypes"], n_type)
    draw.network("embedding_gn", n_type + has_mass, n_type, n_embedding)
    n_moves = 3 * (parameters["seq_len"] - 1)
    draw.network("dynamics_gn", n_moves + n_embedding + has_mass, 4 + n_type, 6)
    if parameters["name"] == "pnr":
        draw.network("score_gn", width + has_mass, 4 + n_type, 3)
    head = parameters["property_net_hparams"]
    if head:
        draw.perceptron("property_head", [width, head, head["out_dim"]], norm=False)
    return draw.weights


class _Draw:
    """Random weights under the names of the layout."""

    def __init__(self, parameters: dict[str, Any], seed: int) -> None:
        self.parameters = parameters
        self.stream = torch.Generator().manual_seed(seed)
        self.weights: Weights = {}

    def normal(self, name: str, *shape: int) -> None:
        scale = 0.7 if len(shape) == 1 else 1.0 / shape[-1] ** 0.5
        self.weights[name] = scale * torch.randn(shape, generator=self.stream)

    def perceptron(self, name: str, sizes: list[Any], *, norm: bool) -> None:
        n_input, hidden, n_output = sizes
        widths = [n_input, *[hidden["units"]] * hidden["layers"], n_output]
        for place in range(len(widths) - 1):
            self.normal(f"{name}.{2 * place}.weight", widths[place + 1], widths[place])
            self.normal(f"{name}.{2 * place}.bias", widths[place + 1])
        if norm:
            self.normal(f"{name}.{2 * len(widths) - 3}.weight", n_output)
            self.normal(f"{name}.{2 * len(widths) - 3}.bias", n_output)

    def network(self, name: str, n_node: int, n_edge: int, n_output: int) -> None:
        sizes = self.parameters[f"{name}_hparams"]
        width = sizes["latent_dim"]
        self.perceptron(f"{name}._encode._node_mlp", [n_node, sizes, width], norm=True)
        self.perceptron(f"{name}._encode._edge_mlp", [n_edge, sizes, width], norm=True)
        for step in range(sizes["mp_steps"]):
            for kind, count in (("edge", 3), ("node", 2)):
                place = f"{name}._interaction.{step}._{kind}_block._{kind}_mlp"
                self.perceptron(place, [count * width, sizes, width], norm=True)
        self.perceptron(f"{name}._decode", [width, sizes, n_output], norm=False)


def published_spec(
    parameters: dict[str, Any], length_unit: float, *, periodic: bool
) -> PublishedSpec:
    """What a model file of these hyper parameters would say; 6 embeddings."""
    origin = Origin(2.0, 300.0, periodic=periodic, length_unit=length_unit, name="a")
    return describe(HyperParameters.model_validate(parameters), 6, origin, {})
