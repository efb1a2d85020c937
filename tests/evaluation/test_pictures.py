"""Pictures are written, quietly and whole; the report stands alone and shows what it was given."""

import re
import struct
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import auc

from hf_genomics.evaluation import pictures as report
from hf_genomics.evaluation.metrics import classification_metrics
from hf_genomics.evaluation.pictures import plot_confusion, plot_loss, plot_roc_pr
from hf_genomics.reports.html import write_report

HISTORY = [
    *({"step": step, "loss": 8 - step / 500, "num_input_tokens_seen": step * 6400} for step in range(10, 1000, 10)),
    {"step": 500, "eval_loss": 7.1},
    {"step": 990, "eval_loss": 6.3},
    {"step": 990, "train_loss": 7.0, "train_runtime": 12.0},
]
VOID = {"meta", "img"}


def png_size(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def some_curves(num_classes, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes, 300)
    good, bad = (
        softmax(rng.normal(size=(300, num_classes)) + d * np.eye(num_classes)[labels], axis=-1) for d in (2, 0.5)
    )
    return {"KmerBert": (good, labels), "4-mer logistic regression": (bad, labels)}


class Page(HTMLParser):
    """Collects tags and attributes, and checks that every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def picture(tmp_path):
    plot_loss(HISTORY, tmp_path / "loss.png")
    return tmp_path / "loss.png"


@pytest.fixture
def page(tmp_path, picture):
    path = tmp_path / "report.html"
    write_report(
        path,
        title="Phage <or> other?",
        summary=['A "first" paragraph & more.', "A second."],
        tables=[
            ("Scores <test>.", ["Model", "AUROC", "Windows"], [["a<b", 0.81234, 12345], ["guess", float("nan"), 7]])
        ],
        pictures=[('Loss & "steps" of the run. More about it.', picture)],
    )
    return path.read_text(encoding="utf-8")


def test_the_loss_picture_is_large_enough_for_fine_screens(picture):
    assert min(png_size(picture)) >= 800


@pytest.mark.parametrize(
    "history",
    [
        [],
        [{"step": 1, "loss": 2.0}],
        [{"step": 5, "eval_loss": 1.0}],
        [{"step": 1, "loss": float("nan")}, {"step": 2, "loss": 1.0}],
        [{"step": 0, "loss": 1.0, "num_input_tokens_seen": 0}],
    ],
)
def test_a_short_or_broken_history_still_gives_a_picture(history, tmp_path):
    plot_loss(history, tmp_path / "new_folder" / "loss.png", references={"ln 4": 1.386})
    assert png_size(tmp_path / "new_folder" / "loss.png")


def test_accuracies_of_a_pretraining_are_drawn_beside_the_loss(tmp_path):
    plot_loss(HISTORY, tmp_path / "alone.png")
    scores = {"eval_masked_token_accuracy": 0.1, "eval_masked_nucleotide_accuracy": 0.3}
    plot_loss([*HISTORY, {"step": 5, "eval_loss": 1.0} | scores], tmp_path / "beside.png")
    alone, beside = png_size(tmp_path / "alone.png"), png_size(tmp_path / "beside.png")
    assert beside[0] > 1.2 * alone[0] and beside[1] == alone[1]


def test_smoothing_keeps_a_constant_and_the_mean_of_a_line():
    np.testing.assert_allclose(report._smooth(np.full(100, 3.0)), 3.0)
    np.testing.assert_allclose(report._smooth(np.arange(100.0))[10:90], np.arange(100.0)[10:90])


@pytest.mark.parametrize("num_classes", [2, 3])
def test_roc_and_pr_curves_enclose_the_areas_that_the_metrics_give(num_classes):
    probabilities, labels = some_curves(num_classes)["KmerBert"]
    scores = classification_metrics(probabilities, labels)
    pairs = [(labels == c, probabilities[:, c]) for c in report._classes(probabilities, 1)]
    false_positive_rate, recall = report._roc_curve(pairs)
    assert auc(false_positive_rate, recall) == pytest.approx(scores["auroc"], abs=2e-3)
    recall, precision = report._pr_curve(pairs)
    assert -np.sum(np.diff(recall) * precision[:-1]) == pytest.approx(scores["auprc"], abs=2e-3)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_roc_and_pr_curves_are_drawn_for_two_classes_and_more(num_classes, tmp_path):
    plot_roc_pr(some_curves(num_classes), tmp_path / "curves.png")
    width, height = png_size(tmp_path / "curves.png")
    assert width > height > 600


def test_a_curve_that_is_not_defined_is_left_out_with_a_word_in_the_log(tmp_path, caplog):
    plot_roc_pr({"lonely": (np.array([[0.2, 0.8]]), np.array([1]))}, tmp_path / "curves.png")
    assert "lonely: no curve" in caplog.text
    assert png_size(tmp_path / "curves.png")


def test_the_confusion_matrix_takes_ids_and_probabilities_alike(tmp_path):
    probabilities, labels = some_curves(3)["KmerBert"]
    plot_confusion(labels, probabilities, ["a", "b", "never & seen"], tmp_path / "p.png")
    plot_confusion(labels, probabilities.argmax(axis=1), ["a", "b", "never & seen"], tmp_path / "i.png")
    assert (tmp_path / "p.png").read_bytes() == (tmp_path / "i.png").read_bytes()


def test_equal_data_gives_equal_bytes_and_leaves_no_temporary_file(tmp_path):
    for name in ("one.png", "two.png"):
        plot_loss(HISTORY, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_drawing_never_loads_pyplot():
    imports = re.findall(r"^(?:import|from) .*", Path(report.__file__).read_text(encoding="utf-8"), re.MULTILINE)
    assert any("matplotlib" in line for line in imports)
    assert not any("pyplot" in line for line in imports)


def test_the_report_refers_to_nothing_outside_itself_and_runs_nothing(page):
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[A-Za-z0-9+/=]+", "", page))
    parsed = Page(page)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(parsed.tags)
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    sources = [value for _, name, value in parsed.attributes if name in ("src", "href", "srcset")]
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)


def test_the_report_escapes_every_text_it_is_given(page):
    for raw in ("<or>", "<test>", "a<b", '"first"', "& more", '& "steps"'):
        assert raw not in page
    texts = "".join(Page(page).texts)
    for shown in ("Phage <or> other?", 'A "first" paragraph & more.', "Scores <test>.", "a<b"):
        assert shown in texts


def test_the_report_has_one_heading_per_level_of_its_outline_and_names_for_its_pictures(page):
    parsed = Page(page)
    assert [tag for tag in parsed.tags if tag in ("h1", "h2")] == ["h1", "h2", "h2", "h2"]
    assert ("img", "alt", 'Loss & "steps" of the run') in parsed.attributes
    assert ("html", "lang", "en") in parsed.attributes


def test_the_report_follows_dark_mode_and_fits_a_phone(page):
    assert "prefers-color-scheme: dark" in page
    assert 'content="width=device-width, initial-scale=1"' in page


def test_numbers_are_rounded_grouped_and_set_flush_right_and_nan_is_a_dash(page):
    assert '<th scope="row">a&lt;b</th><td class="number">0.812</td><td class="number">12,345</td>' in page
    assert '<td class="number">\N{EN DASH}</td>' in page


def test_pictures_are_shown_at_half_their_pixels_so_that_they_stay_sharp(page, picture):
    width, height = png_size(picture)
    assert f'width="{width // 2}" height="{height // 2}"' in page


def test_a_report_without_tables_and_pictures_has_no_empty_sections(tmp_path):
    write_report(tmp_path / "r.html", title="t", summary=["one"])
    assert Page((tmp_path / "r.html").read_text()).tags.count("section") == 1


def test_a_report_that_cannot_be_written_leaves_the_old_one_untouched(tmp_path):
    path = tmp_path / "report.html"
    write_report(path, title="old", summary=[])
    (tmp_path / "no.png").write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match="no PNG"):
        write_report(path, title="new", summary=[], pictures=[("p", tmp_path / "no.png")])
    with pytest.raises(ValueError, match="a row has 1 cells, the header 2"):
        write_report(path, title="new", summary=[], tables=[("c", ["a", "b"], [[1]])])
    assert "old" in path.read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["no.png", "report.html"]
