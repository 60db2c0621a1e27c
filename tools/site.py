"""Build the documentation as a site: ``make docs``.

Sphinx reads one folder, and the documentation is more than ``docs/``: the notebooks, the reports'
interpretations, CONTRIBUTING and the changelog are pages, too. So ``docs/_build/source`` is put
together first, with the links of every page rewritten to where their targets are then, and Sphinx
builds ``docs/_build/html`` from it. Notebooks are never run: where a run has executed them, those
copies are shown, with their outputs.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
WITH_OUTPUTS = (
    "> This page shows the notebook as the run `{run}` executed it. To run it yourself: "
    "`make notebooks`."
)
WITHOUT = (
    "> This page shows the notebook without its outputs, because no run was given to take them "
    "from. `make study` executes all notebooks; `make docs RUN=data/mini` then shows them here "
    "with figures and tables."
)


def pages(root: Path = ROOT) -> dict[Path, Path]:
    """Text outside ``docs/`` -> its page in the site."""
    found = {
        root / "CONTRIBUTING.md": Path("contributing.md"),
        root / "CHANGELOG.md": Path("changelog.md"),
        root / "reports/README.md": Path("results/reports.md"),
    }
    every = (*root.glob("reports/*/*.md"), *root.glob("reports/experiments/*/*.md"))
    for file in sorted(every):
        name = "_".join(file.relative_to(root / "reports").parent.parts)
        found[file] = Path("results") / f"{name}_{file.stem.lower()}.md"
    return found


def moved(text: str, old: Path, new: Path, place: dict[Path, Path], source: Path) -> str:
    """A page's text with its relative links rewritten for its place in the site."""

    def link(match: re.Match) -> str:
        before, target, anchor, after = match.groups()
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        file = Path(os.path.normpath(old.parent / target))
        own = place.get(file)
        # What is no page is linked where it lies; Sphinx copies it into the site.
        there = source / own if own else file
        return f"{before}{os.path.relpath(there, new.parent)}{anchor or ''}{after}"

    return LINK.sub(link, text)


def put_together(source: Path, run: Path | None) -> None:
    """Write the folder that Sphinx reads. Files that are as they were keep their times, so that
    Sphinx reads only what has changed."""
    place = {file: file.relative_to(DOCS) for file in sorted(DOCS.glob("**/*.md"))}
    place = {file: page for file, page in place.items() if page.parts[0] != "_build"}
    place |= pages()
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    place |= {file: Path("tutorials") / file.name for file in notebooks}
    wanted: dict[Path, bytes] = {}
    for old, page in place.items():
        new = source / page
        if old.suffix == ".ipynb":
            wanted[new] = notebook(old, run)
        else:
            wanted[new] = moved(old.read_text("utf-8"), old, new, place, source).encode()
    for folder in ("_ext", "_static", "pictures"):
        for file in sorted((DOCS / folder).glob("*.*")):
            wanted[source / folder / file.name] = file.read_bytes()
    wanted[source / "conf.py"] = (DOCS / "conf.py").read_bytes()
    for file in source.glob("**/*.*"):
        if file.is_file() and file not in wanted and "__pycache__" not in file.parts:
            file.unlink()
    for file, content in wanted.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.is_file() or file.read_bytes() != content:
            file.write_bytes(content)


def notebook(file: Path, run: Path | None) -> bytes:
    """A notebook as a page: the copy that ``run`` executed (of notebook 05 the first cluster's),
    else as it is; with a line that says which."""
    executed = sorted(run.glob(f"notebooks/{file.stem}*.ipynb")) if run else []
    content = json.loads((executed or [file])[0].read_text("utf-8"))
    said = WITH_OUTPUTS.format(run=run.name) if executed else WITHOUT
    first = content["cells"][0]
    title, _, rest = "".join(first["source"]).partition("\n")
    first["source"] = f"{title}\n\n{said}\n{rest}"
    for cell in content["cells"]:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "application/vnd.jupyter.widget-view+json" in data:  # its picture stands beside it
                del data["application/vnd.jupyter.widget-view+json"]
    content["metadata"].pop("widgets", None)
    return json.dumps(content, ensure_ascii=False).encode()


def main(argv: list[str] | None = None) -> int:
    """Put the sources together and let Sphinx build; its warnings are errors."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--run", type=Path, default=ROOT / "data/mini", help="folder of a run")
    parser.add_argument("--out", type=Path, default=DOCS / "_build", help="default: docs/_build")
    args = parser.parse_args(argv)
    source, out = args.out.resolve() / "source", args.out.resolve() / "html"
    run = args.run.resolve() if (args.run / "notebooks").is_dir() else None
    put_together(source, run)
    sphinx = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-j", "2"]
    own = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    }
    done = subprocess.run([*sphinx, str(source), str(out)], cwd=ROOT, env=own, check=False)
    if done.returncode == 0:
        sys.stdout.write(f"Built {os.path.relpath(out / 'index.html')}.\n")
    else:
        shutil.rmtree(args.out / "html" / ".doctrees", ignore_errors=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
