"""The page of a report: whole in one file, and in the words and numbers of the committed tables."""

import html
import json
import re
import shutil
from html.parser import HTMLParser

import nbformat
import pandas as pd
import pytest
from browser import lab

from esiamfc_lib import page
from esiamfc_lib.cli import main
from esiamfc_lib.commands import report as report_command
from esiamfc_lib.commands import run as run_command
from esiamfc_lib.errors import StudyError

NAMES = ("mini", "real", "scaling")


@pytest.fixture(scope="module")
def folder(root, tmp_path_factory):
    """Copies of the committed reports without their pages, and these written anew."""
    own = tmp_path_factory.mktemp("reports")
    for name in NAMES:
        made = shutil.ignore_patterns("index.html", "report.md", "local", "photographs", "*.pdf")
        shutil.copytree(root / "reports" / name, own / name, ignore=made)
        assert main(["report", "--reports", str(own / name)]) == 0
    return own


class Elements(HTMLParser):
    """The elements of a page: names and attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


@pytest.fixture(params=NAMES)
def report(request, folder):
    return folder / request.param


def test_it_says_what_the_metrics_say(report):
    shown = html.unescape((report / "index.html").read_text())
    read = (report / "report.md").read_text()
    answers = 0
    for file in (report / "metrics").glob("*.json"):
        metrics = json.loads(file.read_text())
        for sentence in [metrics.get("answer", ""), *metrics.get("sentences", [])]:
            assert sentence in shown and sentence in read, file
        answers += "answer" in metrics
    assert answers


def test_the_verdict_is_that_of_the_table(report):
    """By the intervals that hold for all comparisons together."""
    name = "scaling_controls" if report.name == "scaling" else "08_controls_differences"
    table = pd.read_csv(report / f"tables/{name}.csv").query("tracker == 'ESiamFC'")
    gains, losses = (table["low_all"] > 0).sum(), (table["high_all"] < 0).sum()
    (said,) = re.findall("<h1>(.*)</h1>", (report / "index.html").read_text())
    count = (
        f"{gains} of {len(table)}" if gains else f"No gain of the ensemble is shown in {len(table)}"
    )
    assert count in said and ("a loss in" in said) == bool(losses)
    assert f"**{said}.**" in (report / "report.md").read_text()
    first = table.iloc[0]

    def shown(*columns):
        rounded = [round(first[column], 3) + 0.0 for column in columns]  # no -0.000
        return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*rounded).replace("-", "−")

    interval = shown("difference", "low_all", "high_all")
    (line,) = [
        line
        for line in (report / "report.md").read_text().splitlines()
        if f"| {first['minus']} | {interval} |" in line and first["benchmark"] in line
    ][:1]
    columns = ("precision", "precision_low", "precision_high")
    precision = shown(*columns) if "precision" in first else "–"
    assert f" | {precision} | {first['sequences']} sequences" in line


@pytest.mark.parametrize(
    ("lows", "highs", "said"),
    [
        ([0.1, 0.2], [0.3, 0.3], "A gain of the ensemble is shown in 2 of 2 comparisons"),
        ([0.1, -0.2], [0.3, 0.3], "A gain of the ensemble is shown in 1 of 2 comparisons"),
        (
            [-0.1, -0.2],
            [0.3, -0.1],
            "No gain of the ensemble is shown in 2 comparisons, a loss in 1",
        ),
        ([None, -0.2], [None, 0.1], "No gain of the ensemble is shown in 2 comparisons"),
        ([], [], "Nothing has been compared yet"),
    ],
)
def test_every_verdict_has_its_words(tmp_path, lows, highs, said):
    rows = {"tracker": "ESiamFC", "minus": "SiamFC", "difference": 0.1, "low": lows, "high": highs}
    (tmp_path / "tables").mkdir()
    table = pd.DataFrame(rows | {"sequences": 4})
    table.to_csv(tmp_path / "tables/07_differences.csv", index=False)
    page.write_page(tmp_path)
    assert f"<h1>{said}</h1>" in (tmp_path / "index.html").read_text()


def test_it_is_whole_and_every_picture_has_words(report):
    elements = Elements((report / "index.html").read_text()).found
    pictures = [own for tag, own in elements if tag == "img"]
    assert len(pictures) == len([*report.glob("figures/*.png"), *report.glob("pictures/*.jpg")])
    for own in pictures:
        assert own["alt"].strip() and own["src"].startswith("data:image/")
    fetched = [own["src"] for tag, own in elements if tag == "script" and "src" in own]
    assert fetched == ["local/local.js"]
    assert not [own for tag, own in elements if tag == "link"]


def test_every_link_leads_to_a_file(report):
    elements = Elements((report / "index.html").read_text()).found
    shown = [own["href"] for tag, own in elements if tag == "a" and not own["href"].startswith("#")]
    read = re.findall(r"\]\(([^)]+)\)", (report / "report.md").read_text())
    assert shown and read
    for link in (*shown, *read):
        assert (report / link).is_file(), link


def test_the_same_files_give_the_same_bytes(report):
    before = [(report / name).read_bytes() for name in ("index.html", "report.md")]
    page.write_page(report)
    assert [(report / name).read_bytes() for name in ("index.html", "report.md")] == before


def test_one_page_leads_to_all(folder):
    page.write_index(folder)
    text = (folder / "README.md").read_text()
    for name in NAMES:
        assert f"({name}/report.md)" in text and f"({name}/index.html)" in text
        (said,) = re.findall("<h1>(.*)</h1>", (folder / name / "index.html").read_text())
        assert said in text


def test_provenance_is_of_the_run_that_first_gave_these_numbers(tmp_path):
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables/07_differences.csv"
    table.write_text("tracker,minus,difference,low,high,sequences\nESiamFC,SiamFC,0.1,0.0,0.2,4\n")
    page.keep_provenance(tmp_path, {"stages": [1]})
    page.keep_provenance(tmp_path, {"stages": [2]})
    assert json.loads((tmp_path / "provenance.json").read_text())["stages"] == [1]
    table.write_text(table.read_text().replace("0.1", "0.2"))
    page.keep_provenance(tmp_path, {"stages": [2]})
    assert json.loads((tmp_path / "provenance.json").read_text())["stages"] == [2]


def test_notebooks_become_pages_that_fetch_nothing(tmp_path):
    cells = [
        nbformat.v4.new_markdown_cell("The side $s_x$, next: [02](02_b.ipynb)\n$$\\frac{1}{2}$$"),
        nbformat.v4.new_code_cell(
            "print(1)", outputs=[nbformat.v4.new_output("stream", text="1\n")]
        ),
    ]
    run, own = tmp_path / "run/notebooks", tmp_path / "reports"
    run.mkdir(parents=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), run / "01_a.ipynb")
    page.keep_local(run.parent, own, publish=True)
    text = (own / "local/01_a.html").read_text()
    assert (
        text.count("<math") == 2
        and "<mfrac>" in text
        and "$" not in re.sub("(?s)<style.*?</style>", "", text)
    )
    assert 'href="02_b.html"' in text
    assert not [own for tag, own in Elements(text).found if tag in ("script", "link", "iframe")]
    assert '"notebooks": ["01_a"]' in (own / "local/local.js").read_text()


@pytest.mark.parametrize("publish", [True, False])
def test_pictures_of_others_stay_on_this_machine(root, tmp_path, publish):
    shutil.copytree(root / "reports/mini/tables", tmp_path / "tables")
    (tmp_path / "figures/photographs").mkdir(parents=True)
    line = next((root / "reports/mini/figures").glob("02_*.png"))
    shutil.copy(line, tmp_path / "figures/photographs/03_umap.png")
    page.keep_local(tmp_path / "none", tmp_path, publish=publish)
    page.write_page(tmp_path)
    assert ("data:image/jpeg" in (tmp_path / "index.html").read_text()) == publish
    assert ("03_umap.png" in (tmp_path / "local/local.js").read_text()) != publish


@pytest.mark.parametrize("damage", ["nothing there", "metrics"])
def test_what_cannot_be_shown_is_refused(root, tmp_path, damage):
    if damage == "metrics":
        (tmp_path / "metrics").mkdir()
        (tmp_path / "metrics/results.json").write_text("{")
    with pytest.raises(StudyError, match=r"run the study first|results\.json is damaged"):
        page.write_page(tmp_path)


@pytest.mark.skipif(lab.MISSING != "", reason=lab.MISSING or "is here")
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_fetches_nothing_and_draws_the_charts(folder, width):
    from playwright.sync_api import sync_playwright

    curves = [
        {"measure": m, "tracker": t, "threshold": x, "share": 1 - x, "sequences": 2}
        for m in ("success", "precision") for t in ("SiamFC", "ESiamFC") for x in (0, 0.5, 1)
    ]  # fmt: skip
    (figure,) = (folder / "mini").glob("figures/07_curves*otb*.png")
    pd.DataFrame(curves).to_csv(figure.with_suffix(".csv"), index=False)
    page.write_page(folder / "mini")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=lab.BROWSER, args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": width, "height": 900})
        window.set_default_timeout(240_000)
        fetched, errors = [], []
        window.on("request", lambda request: fetched.append(request.url))
        window.on("pageerror", lambda error: errors.append(str(error)))
        window.goto((folder / "mini/index.html").as_uri())
        own = [url for url in fetched if not url.startswith("data:")]
        assert [url.rpartition("mini/")[2] for url in own] == ["index.html", "local/local.js"]
        assert not errors
        assert window.locator("figure.chart svg").count() >= 4  # two benchmarks, two measures
        assert window.evaluate("document.documentElement.scrollWidth") <= width
        row = window.locator("figure.chart rect.over").first
        row.scroll_into_view_if_needed()
        row.hover()
        assert "95 %: [" in window.locator("#tip").inner_text()
        window.locator(".key button", has_text="ESiamFC").last.click()
        assert window.locator("polyline").count() == 2
        browser.close()


def test_a_page_that_cannot_be_written_fails_no_run_but_is_said(root, monkeypatch, capsys):
    def full(profile):
        raise OSError(28, "No space left on device", "index.html")

    monkeypatch.setenv("ESIAMFC_ROOT", str(root))
    monkeypatch.setattr(report_command, "write_report", full)
    monkeypatch.setattr(run_command.Chain, "run", lambda chain: chain.ran.append("results") or 0)
    assert main(["run", "--profile", "smoke"]) == 0
    said = capsys.readouterr().err
    assert "the page of the reports could not be written" in said and "No space left" in said


def test_an_experiment_opens_with_its_verdict_and_is_in_the_index(tmp_path):
    metrics = {"answer": "Refuted: It finds half. Of 2 predictions 1 refuted.", "sentences": ["so"]}
    file = tmp_path / "experiments/try/metrics/experiment.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(metrics))
    shown = page.write_page(tmp_path / "experiments/try").read_text()
    assert "<h1>Refuted: of 2 predictions 1 refuted</h1>" in shown
    assert "esiamfc run --profile experiments/try" in shown
    page.write_index(tmp_path)
    index = (tmp_path / "README.md").read_text()
    assert (
        "**Refuted: of 2 predictions 1 refuted.**" in index
        and "(experiments/try/report.md)" in index
    )
    assert metrics["answer"] in index
