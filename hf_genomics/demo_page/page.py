"""Write the page as HTML: a form, and the answer below it; without scripts, and without a request to another host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template

from ..errors import line_for_user
from ..reports.html import html_page, html_picture, html_section, html_table, html_text
from .answer import Answer
from .reading import MOST_BYTES, MOST_NT, MOST_SEQUENCES


def write_page(
    model: str, targets: Sequence[str], answer: Answer | None = None, error: str = "", target: str = ""
) -> str:
    """Write the page.

    The sequence itself is never written into the page.

    Args:
        model: folder or Hub name of the model.
        targets: names of the classes that the visitor may choose.
        answer: the answer to a question.
        error: one line that says what is wrong with a question.
        target: class that the visitor has chosen.
    """
    name = Path(model).name or Path(model).absolute().name  # not the folders on the way; "." has no name of its own
    found = f'<p class="error" role="alert">{html_text(line_for_user(error))}</p>' if error else ""
    found += _answer(answer) if answer else ""
    form = _FORM.substitute(
        options="".join(_option(value, value, target) for value in targets),
        default=_option("", "predicted class", target),
        limits=html_text(
            f"Blanks, line ends and lower case do not matter. At most {MOST_NT:,} nt in {MOST_SEQUENCES} sequences, "
            f"{MOST_BYTES >> 20} MiB; pictures show the first sequence. Positions count from 1; "
            "start and end in a table count from 0, as in BED."
        ),
    )
    found = f'<div id="answer">{found}</div>' if found else ""
    return html_page(f"Try {name}", form + found, _FOOTER, head=_HEAD)


def _option(value: str, text: str, chosen: str) -> str:
    """Write one choice of a list."""
    selected = " selected" if value == chosen else ""
    return f'<option value="{html_text(value)}"{selected}>{html_text(text)}</option>'


def _answer(answer: Answer) -> str:
    """Write an answer."""
    notes = "".join(f"<p>{html_text(line_for_user(note))}</p>" for note in answer.notes)
    rows = [[line_for_user(cell) if isinstance(cell, str) else cell for cell in row] for row in answer.rows]
    pictures = "\n".join(html_picture(caption, data) for caption, data in answer.pictures)
    return (
        html_section("Result", notes + html_table("What the model predicts.", answer.header, rows))
        + "\n"
        + html_section("Pictures", pictures)
    )


_FOOTER = "Written by hf_genomics. Sequences are not kept. A prediction is not a diagnosis: not for clinical use."
_FORM = Template("""<form method="post" action="#answer" enctype="multipart/form-data">
<label for="dna">DNA, or FASTA</label>
<textarea id="dna" name="dna" rows="6" spellcheck="false" autocomplete="off" placeholder="ACGT..."></textarea>
<label for="file">or a file: FASTA, FASTQ, GenBank or 2bit, plain or gzipped</label>
<input id="file" name="file" type="file">
<div class="row">
<div><label for="target">Class to show</label>
<select id="target" name="target">$default$options</select></div>
<div><label for="position">Position to look at</label>
<input id="position" name="position" inputmode="numeric" pattern="[0-9]*" autocomplete="off"
 placeholder="highest score"></div>
<button>Predict</button>
</div>
<p class="limits">$limits</p>
</form>
""")
# An empty icon: otherwise browsers ask the server for one.
_HEAD = """
<link rel="icon" href="data:,">
<style>
form { margin-top: 1.5rem; }
label { display: block; font-size: 0.95rem; color: var(--soft); margin: 0.9rem 0 0.3rem; }
textarea, input, select, button { height: 2.8rem; box-sizing: border-box; }
textarea { height: 9rem; }
textarea, input, select {
  font: inherit; width: 100%; color: var(--ink); background: var(--page);
  border: 1px solid var(--line); border-radius: 6px; padding: 0.5rem 0.6rem;
}
textarea { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 0.9rem; resize: vertical; }
.row { display: flex; flex-wrap: wrap; gap: 0 1rem; align-items: flex-end; }
.row div { flex: 1 1 12rem; }
button {
  font: inherit; font-weight: 600; color: #ffffff; background: #0072B2; border: 0; border-radius: 6px;
  padding: 0 1.6rem; margin-top: 0.9rem; cursor: pointer;
}
.limits { color: var(--soft); font-size: 0.9rem; margin-top: 0.6rem; }
.error { border-left: 4px solid #D55E00; padding: 0.6rem 0.9rem; background: var(--stripe); margin-top: 1.5rem; }
</style>"""
