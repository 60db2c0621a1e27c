"""The page of a report: ``index.html``, whole in one file, and ``report.md`` beside it.

Both show what the stages left in ``reports/<profile>`` and what a run keeps there for them:
``provenance.json`` and, of built-in data, ``pictures``. Equal folders give equal bytes. ``local``,
which git ignores, has what is not published: notebooks, and a list of others' pictures."""

import base64
import io
import json
import re
from fnmatch import filter as matching
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from matplotlib.colors import to_hex
from PIL import Image

from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.figures.style import looks
from esiamfc_lib.reports import read_table, with_closer
from esiamfc_lib.runtime.files import digest_of, write_atomically

# The first of these tables that is there has the verdict; rows of CLOSER take the place of its own.
COMPARED = ("09_controls", "scaling_controls", "08_controls_differences", "07_differences")
CLOSER = "08_closer"
# The main figures, the most telling first (a page opens with six); pictures of the data.
FIGURES = (
    "10_headroom", "07_curves_*", "07_differences_*", "08_closer_*", "08_precision_*", "09_gains_*",
    "scaling_gains", "06_weights_by_family", "08_kinds_*", "07_sequences_*", "04_stability",
    "04_sizes",
)  # fmt: skip
PICTURES = ("03_umap", "04_gallery", "07_strip_*")


def write_page(folder: Path) -> Path:
    """Write a report folder's ``report.md`` and ``index.html``, whose path is given."""
    digest, figures = _digest(folder), sorted(folder.glob("figures/*.png"))
    first, made = _chosen(figures, FIGURES, 1)[:6], folder / "provenance.json"
    tables = sorted(folder.glob("tables/*.csv"))
    content = _verdict(folder) | {
        "first": [_shown(file) for file in first],
        "more": [_shown(file) for file in figures if file not in first],
        "pictures": [_shown(file) for file in sorted(folder.glob("pictures/*.jpg"))],
        "tables": [(file.stem, _caption(file), _table(file)) for file in tables],
        "made": _read(made) if made.is_file() else {},
        "digest": digest,
        "interpreted": (folder / "INTERPRETATION.md").is_file(),
    }
    _write(folder / "report.md", "report.md", content)
    _write(folder / "index.html", "page.html", content)
    return folder / "index.html"


def write_index(folder: Path) -> None:
    """Write ``README.md``: the verdicts of all reports, but for ``smoke``, which are not kept."""
    pages = (*folder.glob("*/report.md"), *folder.glob("experiments/*/report.md"))
    reports = [_verdict(file.parent) for file in sorted(pages) if file.parent.name != "smoke"]
    _write(folder / "README.md", "reports.md", {"reports": reports})


def keep_provenance(folder: Path, facts: dict[str, Any]) -> None:
    """Keep how a report's numbers came about, unless that is known: a run that gives the same ones
    again leaves the file, which tells commit, times and versions of the first, as it is."""
    file, digest = folder / "provenance.json", _digest(folder)
    if not file.is_file() or _read(file).get("digest") != digest:
        write_atomically(file, json.dumps({"digest": digest} | facts, indent=1) + "\n")


def keep_local(run: Path, folder: Path, publish: bool) -> None:
    """Keep what else a run can show: its notebooks, rendered so that they fetch nothing, and the
    pictures of its data, small ones for everybody where they may be published."""
    notebooks = [_rendered(file, folder) for file in sorted(run.glob("notebooks/*.ipynb"))]
    pictures = _chosen([*folder.glob("figures/photographs/*.png")], PICTURES, 2)
    for file in pictures if publish else ():
        jpeg, image = io.BytesIO(), Image.open(file).convert("RGB")
        image.thumbnail((1100, 1100))
        image.save(jpeg, "jpeg", quality=82, optimize=True)
        write_atomically(folder / f"pictures/{file.stem}.jpg", jpeg.getvalue())
        write_atomically(folder / f"pictures/{file.stem}.caption", _caption(file))
    listed = {"notebooks": notebooks, "pictures": [] if publish else [f.name for f in pictures]}
    write_atomically(folder / "local/local.js", f"showLocal({json.dumps(listed)})\n")


def _rendered(file: Path, folder: Path) -> str:
    """The name of an executed notebook; its page in ``local`` is written if the notebook is newer.
    Formulas become MathML."""
    from latex2mathml.converter import convert
    from nbconvert import HTMLExporter

    page, display = folder / f"local/{file.stem}.html", {"$": "inline", "$$": "block"}
    if not page.is_file() or page.stat().st_mtime < file.stat().st_mtime:
        notebook, formula = _read(file), re.compile(r"(\$\$?)(.+?)\1", re.S)
        for cell in (cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"):
            text = re.sub(r"\(([\w./-]+)\.ipynb\)", r"(\1.html)", "".join(cell["source"]))
            cell["source"] = formula.sub(lambda m: convert(m[2], display=display[m[1]]), text)
        body, _ = HTMLExporter(template_name="basic").from_file(io.StringIO(json.dumps(notebook)))
        body = re.sub("(?s)<script.*?</script>", "", body)  # of widgets, which need a kernel
        _write(page, "notebook.html", {"name": file.stem, "body": body})
    return file.stem


def _verdict(folder: Path) -> dict[str, Any]:
    """What a report says: its metrics, and the ensemble's rows of its table of differences."""
    files = [folder / f"tables/{name}.csv" for name in COMPARED]
    table = _table(next((file for file in files if file.is_file()), None))
    if (file := folder / f"tables/{CLOSER}.csv").is_file():
        table = with_closer(table, _table(file))
    place = [name for name in table.columns[: table.columns.get_loc("minus")] if name != "tracker"]
    metrics = {file.stem: _read(file) for file in sorted(folder.glob("metrics/*.json"))}
    name = "/".join(folder.parts[-2 if folder.parent.name == "experiments" else -1 :])
    said = {"name": name, "metrics": metrics, "place": place}
    return said | _drawable(table[table["tracker"] == "ESiamFC"])


def _shown(file: Path) -> dict[str, Any]:
    """A picture, its caption, and the table beside it, which the page may draw itself."""
    table, maker = file.with_suffix(".csv"), file.with_suffix(".json")
    chart = _drawable(_table(table if table.is_file() else None))
    chart["options"] = _read(maker).get("options", {}) if maker.is_file() else {}
    kind = "jpeg" if file.suffix == ".jpg" else "png"
    data = f"data:image/{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
    place = {"name": file.stem, "file": f"{file.parent.name}/{file.name}"}
    return place | {"caption": _caption(file), "data": data, "chart": chart}


def _drawable(table: pd.DataFrame) -> dict[str, Any]:
    """Rows of a table as JSON has them, without NaN, and the colours of what they name."""
    names = [name for side in ("tracker", "minus") if side in table for name in table[side]]
    colours = {name: to_hex(look["color"]) for name, look in looks(names).items()}
    return {"rows": json.loads(table.to_json(orient="records")), "colours": colours}


def _table(file: Path | None) -> pd.DataFrame:
    """A table, or an empty one of differences."""
    if file is None:
        return pd.DataFrame(columns=["tracker", "minus"])
    with refused(f"{file} is damaged"):
        return read_table(file)


def _caption(file: Path) -> str:
    """The caption beside a figure or table, else its name in words."""
    for ending, pattern in ((".caption", "(?s)(.*)"), (".tex", r"\\caption\{(.*?)\}(?:\s|\\)")):
        beside = file.with_suffix(ending)
        if beside.is_file() and (found := re.search(pattern, beside.read_text("utf-8"))):
            return found[1].strip().replace("{[}", "[").replace("\\", "")
    return re.sub(r"_+", " ", file.stem)


def _chosen(files: list[Path], patterns: tuple[str, ...], most: int) -> list[Path]:
    """So many files a pattern, in the patterns' order; of benchmarks OTB comes first."""
    named = {file.stem: file for file in sorted(files, key=lambda f: ("otb" not in f.stem, f))}
    return [named[name] for one in patterns for name in matching(named, one)[:most]]


def _digest(folder: Path) -> str:
    """Digest of all numbers of a report."""
    files = sorted((*folder.glob("metrics/*.json"), *folder.glob("tables/*.csv")))
    if not files:
        raise StudyError(f"{folder} holds no metrics and no tables: run the study first")
    return digest_of(part for file in files for part in (file.name.encode(), file.read_bytes()))


def _read(file: Path) -> dict[str, Any]:
    with refused(f"{file} is damaged"):
        return dict(json.loads(file.read_text(encoding="utf-8")))


def _write(path: Path, template: str, content: dict[str, Any]) -> None:
    loader, escape = jinja2.PackageLoader("esiamfc_lib"), jinja2.select_autoescape(["html"])
    options = {"trim_blocks": True, "lstrip_blocks": True, "undefined": jinja2.StrictUndefined}
    made = jinja2.Environment(loader=loader, autoescape=escape, **options)
    made.policies["json.dumps_kwargs"] = {"sort_keys": False}  # columns stay in their order
    write_atomically(path, made.get_template(template).render(content))
