"""What a published checkpoint (graphwm) says of itself: hyper parameters.

The layout of these files is the authors'; names of hyper parameters are kept. Method:
Fu et al., TMLR 2023, arXiv 2204.10348.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from cgml.fields import Count, Integer, Length, NonNegative, Positive, Width
from cgml.sampling import check_evaluations
from cgml.spec import BaseSpec

Hidden = Annotated[Integer, Field(ge=0, le=8)]
"""Hidden layers of a perceptron."""


class NetworkSizes(BaseModel):
    """Sizes of one encode-process-decode network.

    Attributes:
        latent_dim: width of nodes and edges.
        units: width of hidden layers.
        layers: hidden layers of every perceptron.
        mp_steps: rounds of messages.
    """

    model_config = ConfigDict(frozen=True)

    latent_dim: Width
    units: Width
    layers: Hidden
    mp_steps: Annotated[Integer, Field(ge=0, le=64)]


class HeadSizes(BaseModel):
    """Sizes of the property head.

    Attributes:
        units: width of hidden layers.
        layers: hidden layers.
        out_dim: numbers per system.
    """

    model_config = ConfigDict(frozen=True)

    units: Width
    layers: Hidden
    out_dim: Width


def _none_if_false(value: Any) -> Any:
    return None if value is False else value


class HyperParameters(BaseModel):
    """What shapes the networks and their use, under the names in the file.

    Lengths are in the unit of the model (Angstrom; chains: their own). What else the
    file says of training is dropped.

    Attributes:
        name: "gns" moves beads by the dynamics network alone, "pnr" refines them by
            the score network.
        seq_len: frames of history.
        dilation: recorded frames per step of the model.
        cg_level: atoms per bead.
        radius: cutoff of edges.
        type_emb_size: width of the embeddings of types.
        num_ptypes: rows of particle types.
        num_btypes: rows of bond types; 0: bonds have no type.
        use_atom_mass: particle types are atomic numbers and masses standard atomic
            weights; else every mass is 1.
        use_weights: whether masses are inputs of the networks.
        min_std: least standard deviation of the acceleration.
        cg_tfsi: whether the authors made each TFSI anion one bead.
        remove_com: whether the authors took the drift out of their trajectories.
        embedding_gn_hparams: sizes.
        dynamics_gn_hparams: sizes.
        score_gn_hparams: sizes; needed by "pnr" only, like all below but one.
        property_net_hparams: sizes of the property head; None: there is none.
        sigma_begin: first noise level.
        sigma_end: last noise level.
        sigma_level: number of noise levels.
        step_per_sigma: Langevin steps at each level.
        step_size: of these steps, in squared lengths.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Literal["gns", "pnr"]
    seq_len: Annotated[Integer, Field(ge=2, le=256)]
    dilation: Count
    cg_level: Positive
    radius: Positive
    type_emb_size: Width
    num_ptypes: Width
    num_btypes: Annotated[Integer, Field(ge=0, le=65536)]
    use_atom_mass: bool
    use_weights: bool
    min_std: NonNegative
    cg_tfsi: bool = False
    remove_com: bool = False
    embedding_gn_hparams: NetworkSizes
    dynamics_gn_hparams: NetworkSizes
    score_gn_hparams: Annotated[
        NetworkSizes | None, BeforeValidator(_none_if_false)
    ] = None
    property_net_hparams: Annotated[
        HeadSizes | None, BeforeValidator(_none_if_false)
    ] = None
    sigma_begin: Positive | None = None
    sigma_end: Positive | None = None
    sigma_level: Annotated[Integer, Field(ge=1, le=10_000)] | None = None
    step_per_sigma: Annotated[Integer, Field(ge=1, le=10_000)] | None = None
    step_size: Positive | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = (
            "score_gn_hparams",
            "sigma_begin",
            "sigma_end",
            "sigma_level",
            "step_per_sigma",
            "step_size",
        )
        lacking = [key for key in needed if getattr(self, key) is None]
        if self.name == "pnr" and lacking:
            raise ValueError(f"a model named 'pnr' needs {', '.join(lacking)}")
        check_evaluations((self.sigma_level or 1) * (self.step_per_sigma or 1))
        return self


class PublishedSpec(BaseSpec):
    """The contents of spec.json in a file made of a published checkpoint.

    Attributes:
        kind: tells the two apart.
        parameters: hyper parameters of the checkpoint.
        n_embedding: width of the beads' embedding.
        length_unit: unit of length inside the model, nm.
    """

    kind: Literal["graphwm"] = "graphwm"
    parameters: HyperParameters
    n_embedding: Width
    length_unit: Length
