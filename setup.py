"""Copy the recipes, tokenizer configurations and models into the wheel, as hf_genomics/bundled/.

They lie at the top of the repository, outside the package, where pyproject.toml cannot name them as package data.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

FOLDERS = ("recipes", "tokenizer_configs", "model_cards")  # as in hf_genomics/io/bundled.py


class BuildWithBundle(build_py):
    """The usual build of a package, and after it the copies."""

    def run(self) -> None:
        """Build; an editable install reads the folders of the repository, so nothing is copied for it."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "hf_genomics" / "bundled"
        shutil.rmtree(target, ignore_errors=True)  # a file of an earlier build may not exist any more
        for name in FOLDERS:
            shutil.copytree(name, target / name, ignore=shutil.ignore_patterns("__pycache__", "renew_code.py"))


setup(cmdclass={"build_py": BuildWithBundle})
