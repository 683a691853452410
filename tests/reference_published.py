"""The published networks as their equations stand: the reference of the tests.

Written from the description of the layout, not from the code under test: inputs
concatenated, loops over bonds and pairs, numpy in double precision, names as in the
file.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[Any]


class Reference:
    """Evaluate a checkpoint number by number.

    Args:
        parameters: as in the file.
        weights: as in the file.
    """

    def __init__(
        self, parameters: dict[str, Any], weights: dict[str, torch.Tensor]
    ) -> None:
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
