"""Beginning of a script that runs where the package cannot be imported, as for people who have only a saved folder."""

NOT_INSTALLED = """
import json, sys
from pathlib import Path

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "hf_genomics":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
import torch, transformers
"""
