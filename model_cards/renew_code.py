"""Copy the package's portable code into the bundled models, after that code has changed: ``make cards``."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import transformers

import hf_genomics  # noqa: F401 (registers the models)


def renew(folder: Path) -> None:
    """Replace the Python files of a model's folder by those that saving the model writes today."""
    config = transformers.AutoConfig.from_pretrained(folder)
    model = getattr(hf_genomics, config.architectures[0]).from_pretrained(folder)
    tokenizer = hf_genomics.KmerTokenizer.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        tokenizer.save_pretrained(saved)
        for path in folder.glob("*.py"):
            path.unlink()
        for path in Path(saved).glob("*.py"):
            shutil.copyfile(path, folder / path.name)


if __name__ == "__main__":
    for path in sorted(Path(__file__).parent.glob("*/config.json")):
        renew(path.parent)
