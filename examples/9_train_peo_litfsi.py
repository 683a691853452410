"""9. Train a model of PEO with LiTFSI on the bead frames of the repository.

    python examples/9_train_peo_litfsi.py [--config FILE.toml] [--output FOLDER]

Beads of two ether oxygens, a Li or a TFSI each are made of data/peo_litfsi, where the
training and the validation boxes are, and written beside a copy of the configuration,
which says the rest: by default that of the bundled model `peo-litfsi`.
"""

import argparse
import shutil
from pathlib import Path

import cgml
from cgml.formats.h5md import write_beads
from cgml.training.config import TrainingConfig
from cgml.training.fit import fit
from openmm_cgml.testsystems.peo_beads import read_beads

DATA = Path(__file__).parents[1] / "data" / "peo_litfsi"
CONFIG = Path(cgml.__file__).parent / "models" / "peo-litfsi.toml"


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--output", type=Path, default=Path("peo_litfsi_training"))
    parser.add_argument("--data", type=Path, default=DATA, help="folder of bead frames")
    parser.add_argument("--units", type=int, default=2, help="ether oxygens of a bead")
    return parser.parse_args()


def main(options: argparse.Namespace) -> None:
    for role in ("train", "validation"):
        folder = options.output / role
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(options.data.glob(f"{role}_*.xtc")):
            target = folder / f"{path.stem}.h5md"
            write_beads(target, read_beads(path, n_units=options.units))
            print(target)
    config = options.output / options.config.name
    shutil.copyfile(options.config, config)
    print(fit(TrainingConfig.from_toml(config)))


if __name__ == "__main__":
    main(parse_options())
