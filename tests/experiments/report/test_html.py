"""The page: everything in one file, well-formed, escaped, small, and not made twice."""

import dataclasses
import re
import shutil
from html.parser import HTMLParser

import pytest

from engine.data.readers import read_dataset
from engine.errors import UserError
from engine.plots import canvas
from experiments import learned
from experiments.records.standing import results_of, standings
from experiments.records.store import Store
from experiments.report import figures, html, write
from experiments.report.document import build_document
from experiments.report.summary import summarize
from experiments.report.table import Column, Marked
from experiments.stats import Bounds, Estimate
from experiments.tasks import samples

VOID = {"meta", "link", "img", "br", "input", "path", "use"}


class Outline(HTMLParser):
    """Open elements, ids, and every address that the page names."""

    def __init__(self):
        super().__init__()
        self.stack, self.ids, self.addresses, self.found = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        if tag not in VOID:
            self.stack.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "src", "xlink:href"):
                self.addresses.append(value)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.stack.pop() == tag


def document_of(reported):
    runs = standings(reported.planned, reported.store)
    return build_document(reported.study, summarize(reported.study, results_of(runs)), runs)


@pytest.fixture(scope="module")
def page(reported):
    return reported.path.read_text("utf-8")


def test_elements_are_closed_and_ids_are_unique(page):
    outline = Outline()
    outline.feed(page)
    assert outline.stack == []
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.found.count("table") >= 2 + 4 and outline.found.count("svg") >= 1 + 3


def test_the_page_needs_nothing_else(page):
    outline = Outline()
    outline.feed(page)
    targets = {f"#{name}" for name in outline.ids}
    assert all(address in targets or address.startswith("data:") for address in outline.addresses)
    assert not re.search(r"@import|url\((?!#)", page)
    assert len(page.encode()) < 5_000_000


def test_the_page_says_what_the_study_does(reported, page):
    assert "A tiny study of &lt;digits&gt;" in page and "<digits>" not in page
    assert "too fast, seed 0: training diverged" in page
    for name in ("confusion", "mistakes", "filters", "features", "curves"):
        assert page.count(f'<figure class="{name}">') >= 3
    assert "--study tiny.yaml" in page and "SHA-256 " in page and "numpy " in page
    assert reported.missing == ()


def test_the_same_report_is_not_made_twice(reported, monkeypatch):
    before = reported.path.stat().st_mtime_ns

    def refuse(*args, **kwargs):
        raise AssertionError("nothing is to be drawn")

    monkeypatch.setattr(write, "illustrated", refuse)
    runs = standings(reported.planned, reported.store)
    summary = summarize(reported.study, results_of(runs))
    write.write_report(reported.study, summary, runs, reported.store, ["another", "command"])
    assert reported.path.stat().st_mtime_ns == before
    with pytest.raises(AssertionError, match="nothing is to be drawn"):
        write.write_report(reported.study, summary, runs[:-1], reported.store, ["command"])
    other = [*runs[:-1], dataclasses.replace(runs[-1], run=dataclasses.replace(runs[-1].run, data="other data"))]
    with pytest.raises(AssertionError, match="nothing is to be drawn"):
        write.write_report(reported.study, summary, other, reported.store, ["command"])


def test_a_report_counts_results_of_other_code_where_they_are_accepted(reported, monkeypatch):
    monkeypatch.setattr("experiments.tasks.keys.code_hash", lambda: "other code")
    monkeypatch.setattr("experiments.records.store.code_hash", lambda: "other code")
    planned = [dataclasses.replace(run) for run in reported.planned]  # their keys are not known yet
    states = [[each.state for each in standings(planned, reported.store, accept)] for accept in (False, True)]
    assert "finished" not in states[0]
    assert states[1] == [each.state for each in standings(reported.planned, reported.store, True)]
    assert "finished" in states[1]


def test_drawings_of_finished_runs_are_kept(reported, monkeypatch):
    monkeypatch.setattr(learned, "_drawings", None)  # cannot be called
    document = document_of(reported)
    drawn = figures.illustrated(document, reported.store.root)
    assert [each.name for each in drawn.sections[0].pictures] == [
        "curves",
        "confusion",
        "mistakes",
        "filters",
        "features",
    ]


def test_a_set_is_read_once_for_the_drawings_of_all_rows(reported, tmp_path, monkeypatch):
    read = []

    def counted(name, root, options):
        read.append((name, str(options)))
        return read_dataset(name, root, options)

    monkeypatch.setattr(samples, "read_dataset", counted)
    document = document_of(reported)
    drawn = figures.illustrated(document, tmp_path)
    assert sum(len(each.pictures) > 1 for each in drawn.sections) > 1
    assert read and len(read) == len(set(read))


def test_without_matplotlib_one_line_says_what_to_install(reported, monkeypatch):
    monkeypatch.setattr(learned, "find_spec", lambda name: None)
    document = document_of(reported)
    drawn = figures.illustrated(document, reported.store.root)
    assert drawn.missing == (canvas.MISSING,) and not drawn.pictures
    page = html.html(drawn)
    assert "pip install" in page and page.count("<figure") == page.count('<figure class="forest"') > 0


def test_what_is_too_large_is_left_out_and_named(reported, monkeypatch):
    document = document_of(reported)
    everything = figures.illustrated(document, reported.store.root)
    total = sum(each.size for section in everything.sections for each in section.pictures)
    total += sum(each.size for each in everything.pictures)
    monkeypatch.setattr(figures, "MOST_BYTES", total - 1)
    drawn = figures.illustrated(document, reported.store.root)
    assert {each.name for section in drawn.sections for each in section.pictures} == {
        "curves", "confusion", "mistakes", "filters",
    }  # fmt: skip
    assert drawn.missing == (
        "Left out to keep the page small: features of every row (python -m engine.plots draws them)",
    )


def test_a_damaged_log_leaves_the_curves_of_its_row_out(reported, tmp_path):
    root = tmp_path / "study"
    shutil.copytree(reported.store.root, root)
    store = Store(root)
    log = store.folder(reported.planned[0]) / "log.jsonl"
    log.write_text(f"nonsense\n{log.read_text()}")
    runs = standings(reported.planned, store)
    document = build_document(reported.study, summarize(reported.study, results_of(runs)), runs)
    drawn = figures.illustrated(document, root)
    assert drawn.missing[0].startswith("curves of raw: ") and "line 1: is damaged" in drawn.missing[0]
    names = [[each.name for each in section.pictures] for section in drawn.sections]
    assert names[0] == ["confusion", "mistakes", "filters", "features"] and names[1] == ["curves", *names[0]]


def test_a_set_that_is_gone_leaves_its_drawings_out(reported, tmp_path, monkeypatch):
    def gone(folder, data):
        raise UserError("the data are not there")

    monkeypatch.setattr(learned, "_drawings", gone)
    document = document_of(reported)
    drawn = figures.illustrated(document, tmp_path)
    assert drawn.missing[0] == "raw, seed 0: the data are not there"
    assert [each.name for each in drawn.sections[0].pictures] == ["curves"]


def test_cells_are_sorted_by_their_full_value():
    values = [None, Estimate(0.1234567, 0.1, 3), Marked(0.5, "(a)"), 7, "base", Bounds(0.25, 0.75)]
    numbers, words = Column("k", "title"), Column("k", "title", "text")
    assert [html.sort_value(each, numbers) for each in values] == ["", "0.1234567", "0.5", "7", "", "0.25"]
    assert html.sort_value(Marked("a row", "(a)"), words) == "a row"


def test_drawings_keep_every_digit_that_is_to_be_read():
    figure = canvas.new_figure(3, 2)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0.1240, 0.1260])
    axes.set_yticks([0.1245, 0.1255])
    text = figures.themed(figure, "one")
    assert ">0.1245<" in text and ">0.1255<" in text
    assert not re.search(r'="[^"]*\d\.\d{3,}', text)  # coordinates are short


def test_drawings_take_the_colours_of_the_page():
    figure = canvas.new_figure(2, 2)
    axes = figure.add_subplot()
    axes.plot([0, 1], color=canvas.COLOURS[0])
    text = figures.themed(figure, "one")
    assert text.startswith("<svg") and "var(--series-1)" in text and "var(--ink)" in text
    assert "#0072b2" not in text.lower() and 'id="one-' in text
