"""Published checkpoints of any size, with random weights, and their plain evaluation.

The evaluation is written from the description of the layout: inputs concatenated,
loops over bonds and pairs, double precision, names as in the file.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Weights = dict[str, torch.Tensor]
Array = NDArray[Any]

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


class Plain:
    """Evaluate a checkpoint number by number.

    Args:
        parameters: as in the file.
        weights: as in the file.
    """

    def __init__(self, parameters: dict[str, Any], weights: Weights) -> None:
        self.parameters = parameters
        self.weights = {key: value.double().numpy() for key, value in weights.items()}

    def perceptron(self, name: str, values: Array, layers: int) -> Array:
        for place in range(0, 2 * layers + 1, 2):
            if place:
                values = np.maximum(values, 0.0)
            weight = self.weights[f"{name}.{place}.weight"]
            values = weight @ values + self.weights[f"{name}.{place}.bias"]
        norm = f"{name}.{2 * layers + 1}"
        if f"{norm}.weight" in self.weights:
            values = (values - values.mean()) / np.sqrt(values.var() + 1e-5)
            weight, bias = (
                self.weights[f"{norm}.{kind}"] for kind in ("weight", "bias")
            )
            values = weight * values + bias
        return values

    def network(
        self, name: str, nodes: Array, edges: list[tuple[int, int, Array]]
    ) -> tuple[Array, Array]:
        """Return last latent and outputs; edges are (sender, receiver, input)."""
        sizes = self.parameters[f"{name}_hparams"]
        layers = sizes["layers"]
        latent = np.array(
            [self.perceptron(f"{name}._encode._node_mlp", row, layers) for row in nodes]
        )
        rows = [
            self.perceptron(f"{name}._encode._edge_mlp", row, layers)
            for *_, row in edges
        ]
        for step in range(sizes["mp_steps"]):
            place = f"{name}._interaction.{step}"
            total = np.zeros_like(latent)
            messages = []
            for (sender, receiver, _), row in zip(edges, rows, strict=True):
                inputs = np.concatenate((row, latent[receiver], latent[sender]))
                message = self.perceptron(
                    f"{place}._edge_block._edge_mlp", inputs, layers
                )
                total[receiver] += message
                messages.append(message)
            inputs = np.concatenate((latent, total), axis=1)
            latent = latent + [
                self.perceptron(f"{place}._node_block._node_mlp", row, layers)
                for row in inputs
            ]
            rows = [row + add for row, add in zip(rows, messages, strict=True)]
        outputs = [self.perceptron(f"{name}._decode", row, layers) for row in latent]
        return latent, np.array(outputs)

    def embed(self, rows: Array, masses: Array, bonds: Array, kinds: Array) -> Array:
        """Embed atoms: rows of types, bonds (n, 2) one way, rows of bond types."""
        nodes = self.weights["type_embedding.weight"][rows]
        edges = []
        for (one, other), kind in zip(bonds, kinds, strict=True):
            value = nodes[one] + nodes[other]
            if self.parameters["num_btypes"]:
                value = value + self.weights["bond_type_embedding.weight"][kind]
            edges += [(one, other, value), (other, one, value)]
        return self.network("embedding_gn", self._weighed(nodes, masses), edges)[1]

    def edges(self, positions: Array, bonds: Array, box: Array | None) -> list[Any]:
        """All pairs, one by one."""
        cutoff = self.parameters["radius"]
        bonded = {tuple(sorted(pair)) for pair in bonds.tolist()}
        found = []
        for i in range(len(positions)):
            for j in range(len(positions)):
                vector = shortest(positions[i] - positions[j], box)
                is_near = np.linalg.norm(vector) <= cutoff
                is_bond = (min(i, j), max(i, j)) in bonded
                if not (is_near or is_bond):
                    continue
                kind = int(is_bond and (is_near or box is not None))
                vector = vector / cutoff
                row = self.weights["edge_type_embedding.weight"][kind]
                found.append(
                    (i, j, np.concatenate((vector, [np.linalg.norm(vector)], row)))
                )
        return found

    def accelerate(
        self, frames: Array, embedding: Array, masses: Array, edges: list[Any]
    ) -> tuple[Array, Array, Array]:
        """Return mean, standard deviation, latent; frames (k, n, 3) oldest first."""
        moves = np.diff(frames, axis=0)
        nodes = [
            np.concatenate((*moves[:, bead], embedding[bead]))
            for bead in range(len(embedding))
        ]
        latent, output = self.network(
            "dynamics_gn", self._weighed(np.array(nodes), masses), edges
        )
        deviation = self.parameters["min_std"] + np.log1p(np.exp(output[:, 3:]))
        return output[:, :3], deviation, latent

    def score(self, latent: Array, masses: Array, edges: list[Any]) -> Array:
        return self.network("score_gn", self._weighed(latent, masses), edges)[1]

    def head(self, positions: Array, latent: Array, masses: Array) -> Array:
        centre = np.average(positions, axis=0, weights=masses)
        square = ((positions - centre) ** 2).sum(axis=1)
        layers = self.parameters["property_net_hparams"]["layers"]
        correction = self.perceptron("property_head", latent.mean(axis=0), layers)
        return np.sqrt(np.average(square, weights=masses)) + correction

    def step(
        self,
        frames: Array,
        embedding: Array,
        masses: Array,
        bonds: Array,
        box: Array | None,
        noise: Array,
    ) -> Array:
        """Return next positions."""
        mean, deviation, latent = self.accelerate(
            frames, embedding, masses, self.edges(frames[-1], bonds, box)
        )
        place = 2.0 * frames[-1] - frames[-2] + mean + deviation * noise[0]
        if self.parameters["name"] == "gns":
            return place
        begin, end = self.parameters["sigma_begin"], self.parameters["sigma_end"]
        count, size = self.parameters["sigma_level"], self.parameters["step_size"]
        draw = 1
        for level in range(count):
            sigma = begin * (end / begin) ** (level / max(count - 1, 1))
            for _ in range(self.parameters["step_per_sigma"]):
                edges = self.edges(place, bonds, box)
                score = self.score(latent, masses, edges) / sigma
                place = place + size * score + np.sqrt(2.0 * size) * noise[draw]
                draw += 1
        return place

    def _weighed(self, nodes: Array, masses: Array) -> Array:
        if not self.parameters["use_weights"]:
            return nodes
        return np.concatenate((nodes, masses[:, None]), axis=1)


def shortest(vector: Array, box: Array | None) -> Array:
    """Return the shortest of many periodic images."""
    if box is None:
        return vector
    cells = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3), axis=-1).reshape(-1, 3)
    images = vector + cells @ box
    return images[np.argmin((images**2).sum(axis=1))]
