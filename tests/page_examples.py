"""Run the examples of a page as a reader would, and compare what they print with what the page shows.

To write today's output into a page, run ``python tests/page_examples.py README.md`` in the project's folder.
"""

from __future__ import annotations

import contextlib
import glob
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?![\w.])")


@dataclass(frozen=True)
class Example:
    """A block of code of a page, and the block of text after it, which shows what it prints.

    Attributes:
        page: path of the page, relative to the project's folder.
        number: place among the page's blocks, from 0.
        language: "python", "bash" or another word after the fence.
        code: the block.
        output: what the page shows below it; None if it shows nothing.
        place: where the output begins and ends in the page's text; None if there is none.
    """

    page: str
    number: int
    language: str
    code: str
    output: str | None = None
    place: tuple[int, int] | None = None

    @property
    def is_installation(self) -> bool:
        """Whether the block installs the package, which takes an environment of its own."""
        return "git clone" in self.code

    @property
    def is_of_hub(self) -> bool:
        """Whether the block loads DNABERT from the Hub."""
        return 'from_pretrained("zhihan1996/' in self.code and self.language == "python"

    @property
    def verbs(self) -> set[str]:
        """The verbs of hf-genomics that the block runs."""
        return set(re.findall(r"^hf-genomics ([\w-]+)", self.code, re.MULTILINE))


def examples(page: str) -> list[Example]:
    """Read the blocks of code of a page."""
    text = (ROOT / page).read_text()
    found: list[Example] = []
    fences = list(_FENCE.finditer(text))
    for number, fence in enumerate(fences):
        if fence[1] in ("", "text", "yaml", "toml"):
            continue
        after = fences[number + 1] if number + 1 < len(fences) else None
        shows = after is not None and after[1] == "text" and not text[fence.end() : after.start()].strip()
        output = (after[2], after.span(2)) if shows else (None, None)
        found.append(Example(page, number, fence[1], fence[2], *output))
    return found


@contextlib.contextmanager
def _captured(into: list[str]):
    """Collect what this process and its children write to standard output while the block lasts."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(1)
        sys.stdout.flush()
        os.dup2(file.fileno(), 1)
        stream = io.TextIOWrapper(os.fdopen(os.dup(file.fileno()), "wb", 0), write_through=True)
        try:
            with contextlib.redirect_stdout(stream):
                yield
        finally:
            stream.close()
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            into.append(file.read().decode())


def run(example: Example, names: dict | None = None) -> str:
    """Run an example in the current folder, and return what it prints.

    Args:
        example: the example.
        names: global variables of Python blocks, which later blocks of the page can use.
    """
    printed: list[str] = []
    with _captured(printed):
        if example.language == "python":
            exec(compile(example.code, f"{example.page}:{example.number}", "exec"), {} if names is None else names)
        else:
            for line in re.sub(r"\\\n\s*", " ", example.code).splitlines():
                _run_line(line)
    return printed[0]


def _run_line(line: str) -> None:
    """Run a line of a shell; a verb runs in this process, which has imported everything already."""
    words = shlex.split(line, comments=True)
    if words[:1] == ["hf-genomics"]:
        from hf_genomics.cli import main

        expanded = [path for word in words[1:] for path in (sorted(glob.glob(word)) or [word])]
        code = main(expanded)
        assert code == 0, f"{line}: exit code {code}"
    elif words:
        subprocess.run(["bash", "-c", line], check=True, timeout=300)


def differences(printed: str, shown: str) -> list[str]:
    """List the lines of a page that were not printed, in this order.

    A line "..." stands for any lines, "..." at the end of a line for the rest of it. Blanks count once, ruled lines not
    at all. A number may differ by 0.02 or by 2 %, because machines round differently.
    """
    lines = [" ".join(line.split()) for line in printed.splitlines() if line.strip(" ─")]
    wrong, at, skip = [], 0, False
    for want in (" ".join(line.split()) for line in shown.splitlines() if line.strip()):
        if want == "...":
            skip = True
            continue
        places = range(at, len(lines)) if skip else range(at, min(at + 1, len(lines)))
        found = next((place for place in places if _is_same(lines[place], want)), None)
        if found is None:
            wrong.append(want)
            continue
        at, skip = found + 1, False
    return wrong if skip or at == len(lines) else [*wrong, f"not shown: {lines[at]}"]


def _is_same(line: str, want: str) -> bool:
    """Return whether a printed line is the one that a page shows."""
    if want.endswith(" ..."):
        want = want.removesuffix(" ...")
        line = " ".join(line.split()[: len(want.split())])
    if _NUMBER.sub("#", line) != _NUMBER.sub("#", want):
        return False
    pairs = zip(_NUMBER.findall(line), _NUMBER.findall(want), strict=True)
    return all(_is_near(float(a.replace(",", "")), float(b.replace(",", ""))) for a, b in pairs)


def _is_near(a: float, b: float) -> bool:
    """Return whether two numbers are equal, or fractions that differ by rounding."""
    whole = a == int(a) and b == int(b)
    return a == b if whole else abs(a - b) <= max(0.02, 0.02 * abs(b))


def mirror(folder: Path) -> None:
    """Make a folder look like the project's, so that what an example writes does no harm."""
    for path in ROOT.iterdir():
        if path.name not in ("runs", "site", ".git") and not path.name.startswith(".venv"):
            (folder / path.name).symlink_to(path)
    (folder / "runs").mkdir()


def write_outputs(page: str) -> None:
    """Run the examples of a page and write what they print into it, where it shows complete output."""
    text, names = (ROOT / page).read_text(), {"__name__": "__main__"}
    runs = [example for example in examples(page) if not example.is_installation and not example.is_of_hub]
    printed = [(example, run(example, names)) for example in runs]
    for example, output in reversed(printed):
        if example.place is None:
            continue
        if "..." in (example.output or ""):
            if wrong := differences(output, example.output or ""):
                sys.stderr.write(f"{page}:{example.number}: by hand: {wrong}\n{output}\n")
            continue
        start, end = example.place
        text = text[:start] + "\n".join(line.rstrip() for line in output.splitlines()) + "\n" + text[end:]
    (ROOT / page).write_text(text)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:
        mirror(Path(home))
        os.chdir(home)
        for name in sys.argv[1:]:
            write_outputs(name)
