"""What a model file says of itself, and where such files are, without torch."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from cgml.archive import ArchiveError, Entries, read_archive
from cgml.fields import faults
from cgml.models.kinds import KINDS, OWN
from cgml.spec import BaseSpec
from cgml.texts import short

FORMAT = 1
SPEC_FILE = "spec.json"
LARGEST_FILE = 1 << 28  # bytes, packed and unpacked; reading takes thrice as much
LARGEST_SPEC = 1 << 20
ADVICE = "expected a file written by `cgml train`, `cgml export` or `cgml import`"


class ModelFileError(ValueError):
    """A model file is missing, damaged, foreign, or too new."""


def read_spec(path: Path) -> BaseSpec:
    """Read what a model file says of itself, without its weights.

    Raises:
        ModelFileError: As in `load_model`.
    """
    with reading(path):
        return spec_of(path, read_archive(path, largest=LARGEST_FILE))


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say in one line, with the name of the file, whatever goes wrong."""
    try:
        yield
    except ModelFileError:
        raise
    except (ArchiveError, FileNotFoundError) as error:  # the text names the file
        raise ModelFileError(f"{error}; {ADVICE}") from error
    except Exception as error:  # whatever a hostile file makes a parser say
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelFileError(f"{path} is damaged ({text}): {ADVICE}") from error


def spec_of(path: Path, entries: Entries) -> BaseSpec:
    """The spec in a file, its kind that of this version of cgml."""
    text = entries.get(f"extra/{SPEC_FILE}")
    if text is None:
        raise ModelFileError(f"{path} is not a cgml model file: {ADVICE}")
    if len(text) > LARGEST_SPEC:
        raise ModelFileError(
            f"{path} must have a {SPEC_FILE} of at most {LARGEST_SPEC:,} bytes, got "
            f"{len(text):,}: {ADVICE}"
        )
    try:
        raw = json.loads(bytes(text).decode())
        number, kind = raw["format"], raw.get("kind", OWN)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelFileError(
            f"{path} has an unreadable {SPEC_FILE}: {ADVICE}"
        ) from error
    if type(number) is not int or number > FORMAT:
        raise ModelFileError(
            f"{path} has model format {short(number)}, this version of cgml reads up "
            f"to {FORMAT}: install a newer cgml"
        )
    if type(kind) is not str or kind not in KINDS:
        raise ModelFileError(
            f"{path} has a model of kind {short(kind)}, this version of cgml knows "
            f"{', '.join(KINDS)}: install a newer cgml"
        )
    try:
        return KINDS[kind].spec.model_validate_json(bytes(text), strict=True)
    except ValidationError as error:
        raise ModelFileError(
            f"{path} has an invalid {SPEC_FILE}: {faults(error)}: export it anew"
        ) from error


def bundled_models() -> dict[str, Path]:
    """Name -> path of the models that come with the package."""
    folder = Path(str(files("cgml"))) / "models"
    return {path.stem: path for path in sorted(folder.glob("*.pt"))}


def find_model(model: str | Path) -> Path:
    """File of a model, given by its path or by the name of a bundled model.

    Raises:
        ModelFileError: There is none.
    """
    path = Path(model)
    if path.is_file():  # and no pipe, which would be waited for
        return path
    bundled = bundled_models()
    if str(model) in bundled:
        return bundled[str(model)]
    known = ", ".join(bundled) or "none"
    raise ModelFileError(
        f"no model file at {str(model)!r} and no bundled model of that name "
        f"(bundled: {known}): check the path"
    )
