"""The page in a headless Chromium: no error, no request, tables that sort by click and keyboard, axe-core's rules."""

import re

import pytest

from experiments.report import watch
from tests.browser import View, launched, violations


@pytest.fixture(scope="module")
def chromium():
    with launched() as browser:
        yield browser


@pytest.fixture
def view(chromium, reported):
    opened = []

    def open_view(*args, **kwargs):
        opened.append(View(chromium, reported.path.as_uri(), *args, **kwargs))
        return opened[-1]

    yield open_view
    for each in opened:
        each.context.close()


def column(page, key):
    return page.eval_on_selector_all(
        f"#table-1 tbody tr td:nth-child({place(page, key)})", "cells => cells.map(cell => cell.dataset.value)"
    )


def place(page, key):
    return 1 + page.eval_on_selector_all("#table-1 thead th", "heads => heads.map(head => head.dataset.key)").index(key)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_shows_without_errors_and_passes_axe(view, scheme, width):
    page = (each := view(scheme, width)).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # wide things scroll in themselves
    page.click("text=Open all")
    assert violations(page, ("serious", "critical")) == []
    assert each.complaints == []


def test_names_that_have_no_place_to_break_stay_within_a_narrow_page(view):
    page = view(width=390).page
    name = "BBox+Reverse+Dilation+ContourCutout+Pretrained+Pseudo"
    texts = "document.querySelectorAll('.row h3, .footnotes li, #summary ~ p')"
    page.evaluate(f"name => {texts}.forEach(each => each.textContent = name)", name)
    assert name in page.inner_text("#row-1 h3")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_on_paper_whole_tables_and_dark_ink(view, tmp_path):
    page = view("dark", width=1032).page  # an A4 page on its side, without its margins
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1032
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    assert page.is_hidden("#theme") and page.is_hidden("nav")
    sizes = "[...document.querySelectorAll('#table-1, #table-1 button')].map(each => getComputedStyle(each).fontSize)"
    assert len(set(page.evaluate(sizes))) == 1
    pdf = page.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True)
    assert pdf.startswith(b"%PDF") and re.search(rb"/MediaBox \[0 0 84\d[.\d]* 59\d", pdf)


def test_tables_sort_by_click_both_ways(view):
    page = view().page
    up = column(page, "published_val_macro_f1")
    assert up == ["0.5", "0.75"]
    head = page.locator('#table-1 th[data-key="published_val_macro_f1"]')
    head.locator("button").click()
    assert column(page, "published_val_macro_f1") == ["0.75", "0.5"] and head.get_attribute("aria-sort") == "descending"
    head.locator("button").click()
    assert column(page, "published_val_macro_f1") == up and head.get_attribute("aria-sort") == "ascending"
    page.click('#table-1 th[data-key="published_parameters"] button')
    assert column(page, "published_parameters") == ["44726", ""] and head.get_attribute("aria-sort") is None
    page.click('#table-1 th[data-key="published_parameters"] button')
    assert column(page, "published_parameters") == ["44726", ""]  # an empty cell stays last


def test_tables_sort_by_keyboard(view):
    page = view().page
    page.locator('#table-1 th[data-key="row"] button').focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('th').dataset.key") == "learning_rate"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('th').dataset.key") == "published_val_macro_f1"
    page.keyboard.press("Enter")
    assert column(page, "published_val_macro_f1") == ["0.75", "0.5"]
    page.keyboard.press("Space")
    assert column(page, "published_val_macro_f1") == ["0.5", "0.75"]


def test_the_theme_can_be_chosen_and_is_kept(view):
    page = view("light").page
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.click("#theme")
    page.click("#theme")
    assert page.locator("#theme").inner_text() == "Theme: dark" and page.evaluate(ground) != light
    page.reload()
    assert page.locator("#theme").inner_text() == "Theme: dark" and page.evaluate(ground) != light
    page.click("#theme")
    assert page.locator("#theme").inner_text() == "Theme: system" and page.evaluate(ground) == light


def test_drawings_change_with_the_theme(view):
    light, dark = (
        view(scheme).page.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill")
        for scheme in ("light", "dark")
    )
    assert light != dark


def test_a_link_in_a_table_opens_its_row(view):
    page = view().page
    assert not page.evaluate("document.getElementById('row-2').open")
    page.click('#table-1 a[href="#row-2"]')
    page.locator("#row-2[open]").wait_for()


def test_it_prints_with_everything_open(view, tmp_path):
    page = view("dark").page
    pdf = page.pdf()
    assert pdf.startswith(b"%PDF") and len(pdf) > 20_000
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_a_live_page_shows_what_is_new_and_keeps_what_the_reader_did(chromium):
    rows = '<table id="t" class="sortable"><thead><tr><th data-key="a" aria-sort="ascending" class="number">' \
        "<button>a</button></th></tr></thead><tbody>{}</tbody></table>"  # fmt: skip
    from experiments.report.html import page_file

    served = []

    def page_text():
        served.append(None)
        cells = "".join(f'<tr><td data-value="{value}">{value}</td></tr>' for value in range(len(served) + 1))
        return (
            '<!DOCTYPE html><html lang="en"><head><title>t</title><link rel="icon" href="data:,"></head>'
            f'<body data-refresh="0.2"><button id="theme"></button><main>{rows.format(cells)}'
            f'<details id="row-1"><summary>row</summary></details></main>'
            f"<script>{page_file('report.js')}</script></body></html>"
        )

    with watch.served(page_text, 0) as address:
        view = View(chromium, address)
        page = view.page
        page.evaluate("document.getElementById('row-1').open = true")
        page.evaluate("sortTable(document.querySelector('th'), 'descending')")
        page.locator("tbody tr").nth(4).wait_for(timeout=20_000)
        values = page.eval_on_selector_all("tbody td", "cells => cells.map(cell => Number(cell.dataset.value))")
        assert values == sorted(values, reverse=True)
        assert page.evaluate("document.getElementById('row-1').open")
        assert view.complaints == []
        view.context.close()
