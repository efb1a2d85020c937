"""Find the recipes, tokenizer configurations and small models of the package, whatever the working folder is."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

#: The bundled folders: at the top of a clone, and in hf_genomics/bundled of an installed wheel (see setup.py).
FOLDERS = ("recipes", "tokenizer_configs", "model_cards")


def bundle_root() -> Path | None:
    """Return the folder that holds the bundled folders; None if the package was installed without them."""
    package = Path(str(files(__package__.partition(".")[0])))  # the folder hf_genomics
    places = (package / "bundled", package.parent)
    return next((place for place in places if all((place / name).is_dir() for name in FOLDERS)), None)


def bundled(name: str) -> str:
    """Return the path of a bundled file or folder.

    A file or folder of that name in the working folder takes precedence; the name is then returned as it is.

    Args:
        name: its path in the repository (``model_cards/virus-wide``, ``recipes/data/windows_test.csv``), or only the
            name of a recipe (``quickstart.yaml``) or of a model (``virus-wide``).

    Returns:
        Its path; any other name is returned as it is, so that it may be a model on the Hub.

    >>> Path(bundled("model_cards/virus-wide"), "config.json").is_file(), bundled("zhihan1996/DNA_bert_6")
    (True, 'zhihan1996/DNA_bert_6')
    """
    parts, root = Path(name).parts, bundle_root()
    if root is None or not parts or ".." in parts or os.path.lexists(name):
        return name
    if parts[0] in FOLDERS:
        place = root / name
    elif name.endswith(".yaml"):
        place = root / "recipes" / name
    else:
        place = root / "model_cards" / name
        if not os.path.isfile(place / "config.json"):  # not one of our models: perhaps a name on the Hub
            return name
    return str(place) if os.path.exists(place) else name


def bundled_models() -> list[str]:
    """Return the names of the bundled models, sorted; none if the package was installed without them.

    >>> "virus-wide" in bundled_models()
    True
    """
    root = bundle_root()
    return sorted(path.parent.name for path in root.glob("model_cards/*/config.json")) if root else []


def bundled_files(pattern: str) -> list[str]:
    """Return the paths of the bundled files that a pattern such as ``recipes/data/quickstart/*.fasta.gz`` stands for.

    In a clone, the shell replaces such a pattern by the names of the files. In other folders, where no file matches, it
    passes on the pattern itself. A pattern in a YAML file does not pass through a shell, so here, too, files of the
    working folder come first.

    Args:
        pattern: a pattern, or the name of one file.

    Returns:
        The paths, sorted; a name that stands for no file is returned as it is.
    """
    parts, root = Path(pattern).parts, bundle_root()
    if root is None or not parts or parts[0] not in FOLDERS or ".." in parts or "*" not in pattern:
        return [bundled(pattern)]
    return sorted(map(str, Path().glob(pattern))) or sorted(map(str, root.glob(pattern))) or [pattern]
