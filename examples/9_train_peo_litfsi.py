"""9. Train a model of PEO with LiTFSI on the bead frames of the repository.

    python examples/9_train_peo_litfsi.py [--output FOLDER] [--config FILE.toml]

Boxes of data/peo_litfsi are written as beads of the configuration, by default that of
the bundled model `peo-litfsi`: two ether oxygens (one at the end of an odd chain), a
Li or a TFSI are a bead.
"""

import argparse
import shutil
from pathlib import Path

import cgml
from cgml.formats.h5md import write_beads
from cgml.molecules.recipe import Recipe
from cgml.training.config import TrainingConfig
from cgml.training.fit import fit
from openmm_cgml.testsystems.peo_beads import read_beads

DATA = Path(__file__).parents[1] / "data" / "peo_litfsi"
CONFIG = Path(cgml.__file__).parent / "models" / "peo-litfsi.toml"


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("peo_litfsi_training"))
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of bead frames")
    parser.add_argument(
        "--frames-only", action="store_true", help="of all boxes, test boxes too"
    )
    return parser.parse_args()


def main(options: argparse.Namespace) -> None:
    options.output.mkdir(parents=True, exist_ok=True)
    config = options.output / options.config.name
    shutil.copyfile(options.config, config)
    settings = TrainingConfig.from_toml(config)
    for path in sorted(options.data.glob("*.xtc")):
        role = path.stem.partition("_")[0]
        folder = options.output / role
        folder.mkdir(exist_ok=True)
        frames = read_beads(path, Recipe(**settings.recipe))
        write_beads(folder / f"{path.stem}.h5md", frames)
        print(folder / f"{path.stem}.h5md")
    if not options.frames_only:
        print(fit(settings))


if __name__ == "__main__":
    main(parse_options())
