"""The documentation's figures are those of the committed benchmark."""

import json

import pytest

from esiamfc_lib.bench import full_scale
from esiamfc_lib.errors import StudyError


def test_figures_are_those_of_the_benchmark(root):
    results, document = root / "reports/bench/data.json", root / "docs/full_scale.md"
    assert full_scale.figures(json.loads(results.read_text())) in document.read_text()


def test_rewrite(tmp_path):
    rows = [{"name": name, "ours": ours, "reference": 2.0, "unit": "u", "ratio": 1.0, "target": ""}
            for name, ours in (("curation and store, one process, 1280×720 against", 361.0),
                               ("bytes of a stored crop", 20_000), ("loader on one core", 886.67))]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    document = tmp_path / "doc.md"
    document.write_text(f"before\n{full_scale.BEGIN}\nold\n{full_scale.END}\nafter\n")
    full_scale.rewrite(document, tmp_path / "rows.json")
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "| hours | 1 | 0.5 |" in text  # 1,298,523 frames at 361 a second
    assert "1.1 million crops of 20.0 kB | 22 |" in text and "1 minutes" in text
    document.write_text("no marks")
    with pytest.raises(StudyError, match="lacks the lines"):
        full_scale.rewrite(document, tmp_path / "rows.json")
