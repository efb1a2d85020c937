"""Make the pictures of gallery.md: ``python docs/gallery.py --data FOLDER`` runs the page's own commands.

The folder holds genomes/ecoli_k12_mg1655.fna.gz, annotations/ecoli_k12_mg1655_genes.bed, and the tables of two tasks,
which the page names; the models and the other genomes are part of the project. The commands write to runs/gallery, and
the pictures are copied to docs/pictures.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "gallery.md"
PICTURES = {  # what the commands write in runs/gallery: what the page shows
    "lambda.png": "gallery_phage.png",
    "substitutions.png": "gallery_substitutions.png",
    "variants.png": "gallery_variants.png",
    "starts.png": "gallery_starts.png",
    "ig/figures/01_NC_001416.1_23100-23250.png": "gallery_window.png",
    "ig/figures/01_NC_001416.1_23100-23250_logo.png": "gallery_logo.png",
    "splice.png": "gallery_splice.png",
    "promoters.png": "gallery_promoter.png",
    "attention/figures/entropy.png": "gallery_entropy.png",
    "vectors.png": "gallery_embedding.png",
}
WIDTH = 1400  # pixels at most
COLOURS = 128


def main() -> None:
    """Run the commands of the page, and copy their pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with genomes/, annotations/ and tasks/")
    data = parser.parse_args().data.resolve()
    (ROOT / "runs" / "gallery").mkdir(parents=True, exist_ok=True)
    run("\n".join(commands(PAGE.read_text())), data)
    for made, shown in PICTURES.items():
        shrink(ROOT / "runs" / "gallery" / made, ROOT / "docs" / "pictures" / shown)
    print(f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime / 60:.1f} minutes of processor time")


def commands(page: str) -> list[str]:
    """Return the blocks of shell commands of a page, those of this script itself left out."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if "docs/gallery.py" not in block]


def run(code: str, data: Path) -> None:
    """Run shell commands in the project's folder with this interpreter; outputs of earlier runs are replaced."""
    python = f'"{sys.executable}"'
    functions = f'python() {{ {python} "$@"; }}\nhf-genomics() {{ {python} -m hf_genomics "$@" --overwrite true; }}\n'
    environment = os.environ | {"DATA": str(data), "PYTHONPATH": str(ROOT)}
    subprocess.run(["bash", "-euc", functions + code], cwd=ROOT, env=environment, check=True)  # noqa: S603 S607 (the page's commands)


def shrink(source: Path, target: Path) -> None:
    """Copy a picture with fewer pixels and colours."""
    image = Image.open(source).convert("RGB")
    image.thumbnail((WIDTH, WIDTH), Image.Resampling.LANCZOS)
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    main()
