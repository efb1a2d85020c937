"""Write a report as one self-contained HTML file."""

from __future__ import annotations

import base64
import html
import math
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from string import Template

import numpy as np

from ..io.writing import write_bytes

#: Pixels of a picture for each CSS pixel of the report: sharp on screens of double resolution.
_SHARPNESS = 2

Cell = str | int | float | None


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    summary: Sequence[str],
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[Cell]]]] = (),
    pictures: Sequence[tuple[str, str | os.PathLike[str]]] = (),
) -> None:
    """Write a report as one self-contained HTML file that follows the reader's light or dark mode.

    It has no scripts and refers to nothing outside itself, so that it can be mailed, archived and opened in ten years.
    All text is plain text and is escaped. Numbers are shown with three decimals (float) or grouped digits (int); None
    and NaN become a dash.

    Args:
        path: HTML file to write.
        title: heading of the page.
        summary: paragraphs; the first is shown larger and should be the message in one or two sentences.
        tables: (caption, header, rows) of each table; columns of numbers are aligned right.
        pictures: (caption, PNG file) of each picture; screen readers read the first sentence of the caption.

    Raises:
        ValueError: if a row of a table is not as long as its header, or a picture is not a PNG file.
    """
    sections = [
        html_section("In short", "".join(f"<p>{html_text(paragraph)}</p>" for paragraph in summary)),
        html_section("Results", "\n".join(html_table(*table) for table in tables)),
        html_section("Pictures", "\n".join(_picture(caption, Path(picture)) for caption, picture in pictures)),
    ]
    footer = "Written by hf_genomics. This file is complete: it loads nothing from elsewhere."
    write_bytes(Path(path), html_page(title, "\n".join(filter(None, sections)), footer).encode("utf-8"))


def html_page(title: str, content: str, footer: str, head: str = "") -> str:
    """Write a page that follows the reader's light or dark mode.

    Args:
        title: heading of the page.
        content: what stands below the heading, HTML.
        footer: last line of the page.
        head: further elements of the head, HTML.
    """
    return _PAGE.substitute(title=html_text(title), style=_STYLE, head=head, content=content, footer=html_text(footer))


def html_section(heading: str, content: str) -> str:
    """Write a section, or nothing if it has no content.

    Args:
        heading: heading of the section.
        content: its content, HTML.
    """
    return f"<section>\n<h2>{heading}</h2>\n{content}\n</section>" if content else ""


def html_table(caption: str, header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Write one table; the first column holds the row headings unless it holds numbers.

    Args:
        caption: text above the table.
        header: names of the columns.
        rows: cells of each row; see `write_report`.

    Raises:
        ValueError: if a row is not as long as the header.
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"table {caption!r}: a row has {len(row)} cells, the header {len(header)}: {list(row)}")
    numeric = [all(_is_number(row[column]) for row in rows) for column in range(len(header))]
    head = "".join(
        f'<th scope="col"{_alignment(is_number)}>{html_text(name)}</th>'
        for name, is_number in zip(header, numeric, strict=True)
    )
    lines = [f"<tr>{_row(row, numeric)}</tr>" for row in rows]
    return (
        f'<figure class="table"><figcaption>{html_text(caption)}</figcaption>\n'
        f'<div class="scroll" role="region" tabindex="0" aria-label="{html_text(caption)}"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(lines) + "\n</tbody>\n</table></div></figure>"
    )


def _row(row: Sequence[Cell], numeric: Sequence[bool]) -> str:
    """Write the cells of a row; a first cell of text is the row's heading."""
    cells = []
    for column, (value, is_number) in enumerate(zip(row, numeric, strict=True)):
        tag, scope = ("th", ' scope="row"') if column == 0 and not is_number else ("td", "")
        cells.append(f"<{tag}{scope}{_alignment(is_number)}>{html_text(_cell(value))}</{tag}>")
    return "".join(cells)


def _alignment(is_number: bool) -> str:
    """Return the attribute that aligns a cell with a number on the right."""
    return ' class="number"' if is_number else ""


def _is_number(value: Cell) -> bool:
    return value is None or isinstance(value, int | float | np.number)


def _cell(value: Cell) -> str:
    """Return a value as readers see it: 0.812, 12,345, or a dash for None and NaN."""
    if value is None or (isinstance(value, float | np.floating) and math.isnan(value)):
        return "\N{EN DASH}"
    if isinstance(value, float | np.floating):
        shown = f"{value:,.3f}"
        return "0.000" if shown == "-0.000" else shown
    return f"{value:,}" if isinstance(value, int | np.integer) and not isinstance(value, bool) else str(value)


def _picture(caption: str, path: Path) -> str:
    """Embed a PNG file."""
    data = path.read_bytes()
    if data[:8] != b"\x89PNG\r\n\x1a\n" or len(data) < 24:  # `html_picture` reads the first 24 bytes
        raise ValueError(f"{path} is not a PNG file")
    return html_picture(caption, data)


def html_picture(caption: str, data: bytes) -> str:
    """Embed a picture at half its size in pixels, so that it is sharp on high-resolution screens.

    Args:
        caption: text below the picture; screen readers read its first sentence.
        data: content of a PNG file.
    """
    # A PNG file states its width and height in bytes 16..23, big-endian.
    width, height = (pixels // _SHARPNESS for pixels in struct.unpack(">II", data[16:24]))
    source = base64.b64encode(data).decode("ascii")
    alt = caption.split(". ")[0].rstrip(".")
    return (
        f'<figure><div class="scroll paper"><img width="{width}" height="{height}" alt="{html_text(alt)}" '
        f'src="data:image/png;base64,{source}"></div>\n<figcaption>{html_text(caption)}</figcaption></figure>'
    )


def html_text(text: str) -> str:
    """Escape text for HTML, quotes included, so that attributes can hold it too.

    Args:
        text: the text.
    """
    return html.escape(str(text), quote=True)


_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
$style
</style>$head
</head>
<body>
<main>
<header><h1>$title</h1></header>
$content
</main>
<footer>$footer</footer>
</body>
</html>
""")


_STYLE = """
:root {
  color-scheme: light dark;
  --page: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #d9dee3; --accent: #0072B2; --stripe: #f6f8fa;
}
@media (prefers-color-scheme: dark) {
  :root { --page: #14171a; --ink: #e6e8ea; --soft: #9aa4ae; --line: #343a41; --accent: #56B4E9; --stripe: #1b1f23; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 1.0625rem/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif;
}
main { max-width: 46rem; margin: 0 auto; padding: 3.5rem 1.25rem 1rem; }
header { border-top: 4px solid var(--accent); padding-top: 1.25rem; }
h1 {
  font-size: clamp(1.6rem, 1.2rem + 2vw, 2.2rem); line-height: 1.2; margin: 0;
  letter-spacing: -0.015em; text-wrap: balance;
}
h2 {
  font-size: 0.85rem; font-weight: 600; letter-spacing: 0.08em; text-transform: uppercase; color: var(--accent);
  margin: 2.75rem 0 0.75rem;
}
p { margin: 0 0 0.9rem; overflow-wrap: break-word; }
section:first-of-type h2 { margin-top: 2rem; }
section:first-of-type p:first-of-type { font-size: 1.2rem; line-height: 1.5; }
.scroll { overflow-x: auto; }
table {
  border-collapse: collapse; width: 100%; font-size: 0.95rem; font-variant-numeric: tabular-nums lining-nums;
}
th, td { text-align: left; padding: 0.45rem 0.75rem; border-bottom: 1px solid var(--line); vertical-align: baseline; }
th:first-child, td:first-child { padding-left: 0.25rem; }
thead th { font-weight: 600; border-bottom: 1.5px solid var(--ink); vertical-align: bottom; }
tbody th { font-weight: 500; }
tbody tr:hover { background: var(--stripe); }
.number { text-align: right; white-space: nowrap; }
figure { margin: 0 0 2.25rem; }
.paper { background: #ffffff; border: 1px solid var(--line); border-radius: 8px; padding: 0.75rem; text-align: center; }
img { max-width: max(100%, 30rem); height: auto; vertical-align: middle; }
figcaption { color: var(--soft); font-size: 0.95rem; line-height: 1.5; margin-top: 0.6rem; }
.table figcaption { margin: 0 0 0.4rem; }
.table th:first-child { min-width: 6rem; }
footer { max-width: 46rem; margin: 1rem auto 0; padding: 1rem 1.25rem 3rem; color: var(--soft); font-size: 0.85rem; }
@media (max-width: 36rem) { main { padding-top: 1.5rem; } th, td { padding: 0.4rem 0.5rem; } }
@media print { body { font-size: 10.5pt; } main { padding-top: 0; } figure, tr { break-inside: avoid; } }
""".strip()
