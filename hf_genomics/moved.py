"""Accept import paths of version 0.1 that have changed; each use causes a warning that names the new path."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Sequence
from types import ModuleType
from typing import Any

# Old module -> the modules that define its names now, searched in this order. `data` was a package that held modules
# and no names of its own.
MOVED = {
    "data": (),
    "data.accessions": ("downloads.accessions",),
    "data.annotations": ("labelled.nucleotides", "labelled.labels"),
    "data.atomic": ("io.writing",),
    "data.catalogue": ("checks.duplicates",),
    "data.chance": ("batches.chance",),
    "data.check": ("checks.check",),
    "data.check_report": ("checks.report",),
    "data.collators": ("batches.span_masking", "batches.sequences"),
    "data.dose": ("batches.dose",),
    "data.download": ("downloads.download",),
    "data.entrez": ("downloads.entrez",),
    "data.fasta": ("sequence_files.fasta",),
    "data.fastx": ("sequence_files.fastx",),
    "data.files": ("io.files",),
    "data.genbank": ("sequence_files.genbank",),
    "data.genome_folder": ("downloads.genome_folder",),
    "data.labelled": ("labelled.windows", "labelled.sequence_dataset"),
    "data.masking": ("batches.masking",),
    "data.metadata": ("genomes.metadata",),
    "data.order": ("genomes.order",),
    "data.packed_rows": ("batches.packing",),
    "data.packing": ("genomes.letters", "sequence_files.twobit", "io.writing"),
    "data.rows": ("batches.rows",),
    "data.sampling": ("genomes.sampling",),
    "data.sketch": ("checks.sketch",),
    "data.splits": ("genomes.splits",),
    "data.store": ("genomes.store",),
    "data.tables": ("labelled.tables", "labelled.labels", "labelled.sequences", "io.text_tables"),
    "data.twobit": ("sequence_files.twobit",),
    "data.unknown": ("genomes.unknown_letters",),
    "data.windows": ("genomes.windows",),
    "fast_tokenizers": ("training.bpe",),
    "hub": ("sharing.dnabert", "sharing.push"),
    "quickstart": ("studies.quickstart",),
    "training.baseline": ("evaluation.baseline",),
    "training.checkpoints": ("runs.checkpoints",),
    "training.exact": ("runs.exact_trainer", "runs.incidents"),
    "training.examples": ("labelled.data",),
    "training.finetune": ("finetuning.finetune", "evaluation.evaluate", "inference.predict"),
    "training.flops": ("runs.flops",),
    "training.incidents": ("runs.incidents",),
    "training.loading": ("loading.models", "loading.model_folder"),
    "training.masked_scores": ("evaluation.masked_scores",),
    "training.masked_training": ("training.masked_trainer",),
    "training.memory": ("runs.memory",),
    "training.metrics": ("evaluation.metrics",),
    "training.report": ("evaluation.pictures", "reports.html"),
    "training.running": (
        "runs.running",
        "runs.callbacks",
        "runs.flops",
        "runs.memory",
        "runs.output_folder",
        "io.writing",
        "inference.windows",
    ),
    "training.scoring": ("inference.scores", "inference.predictions", "inference.windows"),
    "training.settings": ("finetuning.settings",),
    "training.signals": ("runs.callbacks",),
    "training.spread": ("runs.sharding",),
}


class _MovedModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Find modules by their old names, and return objects from the modules that define them now.

    The warning is given when a name is taken from an old module, not when the old module is imported.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        old = fullname.removeprefix(f"{__package__}.")
        if old == fullname or old not in MOVED:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=not MOVED[old])

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__.removeprefix(f"{__package__}.")
        module.__getattr__ = lambda name: moved_object(old, name)  # type: ignore[method-assign]


def moved_object(old: str, name: str) -> Any:
    """Return an object by its old module and name, and warn with its new module.

    Args:
        old: module of version 0.1, without the package's name.
        name: name of the object there.

    Raises:
        AttributeError: if the old module had no such name, or it is private.
    """
    modules = () if name.startswith("_") else MOVED[old]
    for new in modules:
        module = importlib.import_module(f".{new}", __package__)
        if hasattr(module, name):
            found = getattr(module, name)
            # The module that defines it. Constants have no such module, or that of their type, such as `typing`.
            own = sys.modules.get(str(getattr(found, "__module__", "")))
            home = own if own is not None and getattr(own, name, None) is found else module
            remedy = f"import {name} from {home.__name__}; the old path will be removed in version 0.3"
            # stacklevel: the line that takes the name (warn <- moved_object <- __getattr__ <- that line).
            warnings.warn(f"{__package__}.{old} has moved: {remedy}", FutureWarning, stacklevel=3)
            return found
    raise AttributeError(f"module '{__package__}.{old}' has no attribute {name!r}")


def install_old_paths() -> None:
    """Make imports of the old paths work; calling it again changes nothing."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(_MovedModules())
