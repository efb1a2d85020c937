"""Print a constraint for each dependency in pyproject.toml, and in its extras, that sets it to its lower bound.

    python .ci/lowest.py [NAME==VERSION ...] > constraints.txt

Constraints on the command line replace those of the same package, such as torch==2.13.0 where an older release has no
build. Needs Python 3.11 (tomllib).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import tomllib

REQUIREMENT = re.compile(r"^([\w.-]+)(?:\[[^\]]*\])?(?:>=([\w.]+))?")


def lowest(project: dict, keep: list[str]) -> list[str]:
    """Return the constraints.

    Args:
        project: table "project" of pyproject.toml.
        keep: constraints that win over lower bounds.
    """
    kept = {line.partition("==")[0] for line in keep}
    constraints = list(keep)
    for requirement in [*project["dependencies"], *sum(project["optional-dependencies"].values(), [])]:
        name, bound = REQUIREMENT.match(requirement).groups()
        if bound and name not in kept:
            constraints.append(f"{name}=={bound}")
    return constraints


if __name__ == "__main__":
    text = Path(__file__).resolve().parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8")
    print("\n".join(lowest(tomllib.loads(text)["project"], sys.argv[1:])))
