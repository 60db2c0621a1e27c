"""The documentation's figures are those of the committed benchmark."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml

from esiamfc_lib import artefacts
from esiamfc_lib.analysis.intervals import signed
from esiamfc_lib.chain.profiles import load_profile
from esiamfc_lib.cli import COMMANDS
from esiamfc_lib.config import STAGES
from esiamfc_lib.errors import StudyError
from speed import documents, full_scale
from tools import known, readme


@pytest.mark.parametrize("name", documents.DOCUMENTS)
def test_figures_are_those_of_the_benchmark(root, name):
    results, figures = documents.DOCUMENTS[name]
    rows = documents.read([root / file for file in results])
    assert f"\n{figures(rows)}\n" in (root / name).read_text()


@pytest.mark.parametrize("name", documents.GPU_DOCUMENTS)
def test_figures_of_gpus_are_those_of_the_check(root, name):
    results, figures = documents.GPU_DOCUMENTS[name]
    rows = documents.read([root / file for file in results])
    text = (root / name).read_text()
    assert f"{documents.GPU}\n\n{figures(rows)}\n\n{documents.END}" in text


def test_rewrite(tmp_path):
    rows = [
        {"name": name, "ours": ours, "reference": 2.0, "unit": "u", "ratio": 1.0, "target": ""}
        for name, ours in (
            ("curation and store, one process, 1280×720 against", 361.0),
            ("bytes of a stored crop", 20_000),
            ("loader on one core", 886.67),
        )
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    document = tmp_path / "doc.md"
    document.write_text(f"before\n{documents.BEGIN}\nold\n{documents.END}\nafter\n")
    documents.rewrite(document, [tmp_path / "rows.json"], full_scale.figures)
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "| hours | 1 | 0.5 |" in text  # 1,298,523 frames at 361 a second
    assert "1.1 million crops of 20.0 kB | 22 |" in text and "1 minutes" in text
    document.write_text("no marks")
    with pytest.raises(StudyError, match="lacks the lines"):
        documents.rewrite(document, [tmp_path / "rows.json"], full_scale.figures)


ROOT = Path(__file__).parents[1]
PAGES = [
    file.relative_to(ROOT).as_posix()
    for file in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("data/*.md")])
    if "_build" not in file.parts
]
ARTEFACTS = {value for value in vars(artefacts).values() if isinstance(value, str)}
ARTEFACTS |= {file.as_posix() for file in vars(artefacts.Artefacts(Path())).values()}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(root, page):
    """Relative links of a page: the file is there, and the heading that an anchor names."""
    text = (root / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (root / page).parent / name if name else root / page
        assert file.exists(), target
        if anchor:
            there = file.read_text(encoding="utf-8")
            titles = re.findall(r"^#+ (.*)$", there, re.MULTILINE)
            if re.search("^```{(commands|parameters)}", there, re.MULTILINE):  # made at build
                titles += [*COMMANDS, *(model.stage for model in STAGES)]
            anchors = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
            assert anchor in anchors, target


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(root, page):
    """Modules, tests and files in backticks, so that no move leaves a page behind."""
    text = (root / page).read_text(encoding="utf-8")
    tests = {
        file.relative_to(root / "tests").as_posix(): file for file in root.glob("tests/**/*.py")
    }
    for name in re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.(?:py|md|yaml|csv))`", text):
        places = (root / name, root / "esiamfc_lib" / name, root / "tests" / name)
        assert name in ARTEFACTS or any(place.is_file() for place in places), name
    for line in text.splitlines():
        named = re.findall(r"`(?:tests/)?([a-z_/]*test_[a-z_]+\.py)`", line)
        files = [tests[name] for name in named]
        held = "".join(file.read_text(encoding="utf-8") for file in files)
        for name in re.findall(r"`(test_[a-z_0-9]+)`", line):
            assert f"def {name}(" in held, (line, name)


def test_departures_name_parameters_that_exist_and_the_profile_sets_them(root):
    """What the table's third column gives as the published code's is in the profile reference."""
    models = {model.stage: model for model in STAGES}
    stages = load_profile(str(root / "notebooks/profiles/reference.yaml")).stages
    text = (root / "docs/explanation/departures.md").read_text(encoding="utf-8")
    named = re.compile(rf"`({'|'.join(models)})\.([a-z_]+)(?:: ([^`]+))?`")
    for stage, name, _ in named.findall(text):
        assert name in models[stage].model_fields, (stage, name)
    table = text.partition("\n## Departures\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    assert len(rows) > 25 and {len(row) for row in rows} == {4}
    checked = 0
    for _, _, setting, evidence in rows[1:]:
        assert setting and evidence
        for stage, name, value in named.findall(setting):
            if value and "not what `reference` sets" not in setting:
                assert getattr(stages[stage], name) == yaml.safe_load(value), (stage, name)
                checked += 1
    assert checked > 20


def test_limits_of_the_scaling_study_turn_the_start_s_difference_round():
    """The table has the start minus the network that learned on from it; the sentence reverse."""
    table = pd.read_csv(ROOT / "reports/scaling/tables/scaling.csv")
    start = table[(table["fusion"] == "start") & (table["videos"] == table["videos"].max())].iloc[0]
    assert start["difference"] < 0
    ends = [signed(-start[column]) for column in ("difference", "high_all", "low_all")]
    assert "{} AUC [{}, {}]".format(*ends) in readme.limits()[1]


def test_what_is_said_of_local_scales_is_in_their_table(root):
    row = pd.read_csv(root / "reports/real/tables/local_scales.csv").iloc[0]
    difference, low, high = (signed(row[name]) for name in ("difference", "low", "high"))
    said = " ".join((root / "docs/explanation/speed.md").read_text(encoding="utf-8").split())
    assert f"the difference is {difference} [{low}, {high}]" in said
    assert row["sequences"] == 12 and row["starts"] == 8


def test_what_the_readme_says_of_the_demo_on_real_sequences():
    table = pd.read_csv(ROOT / "reports/bench/demo_on_otb.csv")
    overlap = table.pivot(index="sequence", columns="tracker", values="ao").round(2)
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    for tracker in ("ESiamFC", "Identity"):
        first, second, third, last = (
            f"{overlap.loc[name, tracker]:.2f}" for name in ("Girl", "Surfer", "Freeman1", "Bolt2")
        )
        assert f"{first}, {second}, {third} and {last}" in text


def test_a_verdict_is_computed_from_the_interval(tmp_path):
    assert known._judged(0.001, 0.003) == ("shown", "±0.001")
    assert known._judged(-0.003, -0.001)[0] == "refuted"
    assert known._judged(-0.001, 0.003)[0] == "not shown"
    tables = tmp_path / "reports/real/tables"
    tables.mkdir(parents=True)
    package = tmp_path / "esiamfc_lib/analysis"
    package.mkdir(parents=True)
    shutil.copy(ROOT / "esiamfc_lib/analysis/published.csv", package)
    row = {"benchmark": "otb2015", "tracker": "ESiamFC", "minus": "SiamFC", "difference": 0.02}
    row |= {"low": 0.011, "high": 0.03, "low_all": 0.01, "high_all": 0.04, "sequences": 12}
    row |= {"starts": 1, "seeds": 4, "seeds_of": "ESiamFC", "precision": 0.01}
    row |= {"precision_low": -0.02, "precision_high": 0.04}
    pd.DataFrame([row]).to_csv(tables / "08_controls_differences.csv")
    means = {"benchmark": ["otb2015"], "tracker": ["SiamFC"], "precision": [0.5]}
    pd.DataFrame(means).to_csv(tables / "08_controls.csv")
    text = known.known(tmp_path)
    assert "| ESiamFC − SiamFC +0.020 AUC [+0.010, +0.040] |" in text
    assert "12 sequences × 1 start × 4 seeds of ESiamFC alone | shown | ±0.015 |" in text
    assert "+0.010 precision [−0.020, +0.040] | ″ | not shown | ±0.030 |" in text
    # 0.04 / 0.5 is 8 %: two of the paper's three numbers, 6.7, 7.1 and 8.6 %
    assert "+2.0 % [−4.0, +8.0] of a precision of 0.500" in text
    assert "2 of the paper's 3 numbers lie inside | ±6.0 % |" in text
    assert "real videos: 1 shown, 1 not shown, 0 refuted." in text
    assert "equal_budget" not in text and "scaling" not in text  # what is not there has no row


def test_experiments_are_judged_where_there_are_some(tmp_path):
    folder = tmp_path / "reports/experiments/fusion/metrics"
    folder.mkdir(parents=True)
    own = {"arm": "main", "measure": "own_held_out", "mean": -0.02, "low": -0.03, "high": -0.01}
    prediction = {"prediction": "a found above 0", "value": 0.1, "low_all": 0.05, "high_all": 0.15}
    found = {
        "measures": [own | {"videos": 40, "seeds": 3}],
        "verdicts": [prediction | {"videos": 40, "seeds": 3, "verdict": "confirmed"}],
    }
    (folder / "experiment.json").write_text(json.dumps(found))
    text = known.known(tmp_path)
    assert "−0.02000 [−0.03000, −0.01000] | experiment `fusion`: 40 held-out videos" in text
    assert "40 held-out videos, 3 seeds | shown | ±0.01000 |" in text  # a lower loss is better
    assert "| `fusion`: a found above 0 | +0.10000 [+0.05000, +0.15000] |" in text
    assert "| confirmed | ±0.05000 |" in text
    shutil.copytree(folder.parent, tmp_path / "reports/experiments/other")  # the same study
    assert "| experiments `fusion`, `other`: 40 held-out videos, 3 seeds |" in known.known(tmp_path)


def test_ensembles_are_compared_with_the_equal_budget_of_their_own_study(tmp_path):
    """b belongs to the study of a, which has the equal budget; c shows the same pairs to another
    main ensemble, and has none."""
    losses = {"a": [0.4, 0.6, 0.5], "b": [0.4, 0.6, 0.5], "c": [0.4, 0.6, 0.7]}
    for name, main in losses.items():
        rows = [
            {"arm": arm, "seed": 0, "video": video, "fusion": value}
            for arm, values in (("main", main), ("soft", [0.3, 0.4, 0.5]))
            for video, value in zip("uvw", values, strict=True)
        ]
        one = {"arm": "equal_budget", "seed": 0}
        single = [0.5, 0.6, 0.7]
        if name == "a":
            rows += [one | {"video": v, "single": x} for v, x in zip("uvw", single, strict=True)]
        folder = tmp_path / f"reports/experiments/{name}/tables"
        folder.mkdir(parents=True)
        pd.DataFrame(rows).to_csv(folder / "10_videos.csv", index=False)
        arms = {"arm": ["main", "soft", "equal_budget"], "pairs": [12000, 24000, 16800]}
        pd.DataFrame(arms).to_csv(folder / "10_arms.csv", index=False)
    lines = list(known.against_budget(tmp_path))
    starts = ["`a`: main | 12,000, 16,800 | −0.10000", "`a`: soft | 24,000, 16,800 | −0.20000"]
    starts.append("`b`: soft | 24,000, 16,800 | −0.20000")
    assert [line[2:].startswith(start) for line, start in zip(lines, starts, strict=True)] == [
        True, True, True,
    ]  # fmt: skip
    assert all(line.endswith("| 3, 1 |") for line in lines)


def test_hosts_are_a_line_a_command_and_what_went_wrong_is_said():
    good = {"outcome": "as it must be", "seconds": 3, "said": "5 files"}
    rows = [
        good | {"command": "store", "case": "nothing"},
        good | {"command": "store", "case": "killed", "outcome": "WRONG"},
        good | {"command": "store", "case": "another version"},
        good | {"command": "training", "case": "killed", "said": "ended: [a long reason"},
    ]
    lines = documents.hosts(rows).splitlines()
    assert lines[2] == "| `store` | same bytes, 3 s | WRONG, 3 s | – | refused, 3 s | – |"
    assert "| training | killed | as it must be | 3 | ended |" in lines
    assert lines[-1] == "3 of 4 cases ended as they must."


def test_trackers_are_a_line_each_and_quoted_ones_say_so():
    common = {"benchmark": "otb2015", "weights_mb": 0.0, "opencv": "5", "torch": "2"}
    common |= {"processor": "a processor", "source": documents.MEASURED, "frames": 100}
    rows = [
        common | {"tracker": name, "sequence": sequence, "success": auc, "precision": precision,
                  "frames_per_second": speed}
        for name, sequence, auc, precision, speed in (
            ("MIL", "a", 0.3, 0.4, 10.0), ("MIL", "b", 0.5, 0.6, 40.0),
            ("SiamFC bf16", "a", 0.5, 0.6, 50.0), ("SiamFC bf16", "b", 0.6, 0.9, 50.0),
        )
    ]  # fmt: skip
    quoted = {"sequence": "all", "source": "measured earlier", "success": 0.63, "precision": 0.86}
    quoted |= {"frames": float("nan")}
    rows.append(common | quoted | {"tracker": "NanoTrack", "frames_per_second": 150.0})
    lines = documents.trackers(rows).splitlines()
    assert lines[2].startswith("| NanoTrack ¹ | 0.630 | 0.860 | – | 150 | – |")
    assert lines[3].startswith("| SiamFC bf16 | 0.550 | 0.750 | – | 50 |")
    assert lines[4].startswith("| MIL | 0.400 | 0.500 | −0.250 [")
    assert "] | 16 | – |" in lines[4]  # 200 frames in 10 and 2.5 seconds
    assert lines[-2:] == [
        "2 sequences, a processor, OpenCV 5, PyTorch 2.",
        "¹ NanoTrack: measured earlier.",
    ]


def test_width_one_is_judged_by_the_interval_of_all_comparisons_alone(tmp_path):
    """One interval in a note is of one comparison; the second holds for all of them together."""
    note = "difference +0.011 [+0.001, +0.021]"
    row = {"name": "ESiamFC, 3 seeds, 96 sequences forward and backward: AUC; reference: SiamFC"}
    (tmp_path / "reports/bench").mkdir(parents=True)
    file = tmp_path / "reports/bench/gpu-card.json"
    found = []
    for text in (note, f"{note}, of all these together [−0.002, +0.024]"):
        file.write_text(json.dumps([row | {"note": text}]))
        found += known.at_full_width(tmp_path, "SiamFC")
    assert [one[2].partition(":")[0] for one in found] == ["not judged", "not shown"]
    assert [one[3] for one in found] == ["±0.010", "±0.013"]
    assert not list(known.at_full_width(tmp_path, "common start"))


def test_what_more_videos_change_needs_two_sizes_whose_intervals_do_not_meet(tmp_path):
    def write(size: int, low: float, high: float) -> None:
        folder = tmp_path / f"reports/experiments/data_{size}/metrics"
        folder.mkdir(parents=True, exist_ok=True)
        one = {"arm": "main", "measure": "headroom", "mean": 0.0, "seeds": 3}
        measures = [
            one | {"low": low, "high": high},
            one | {"arm": "other", "low": 9.0, "high": 9.0},
        ]
        (folder / "experiment.json").write_text(json.dumps({"measures": measures}))

    def verdicts() -> list[str]:
        return [row[2] for row in known.by_videos(tmp_path, "headroom", "x")]

    write(58, 0.1, 0.2)
    assert verdicts() == []
    write(580, 0.15, 0.3)
    assert verdicts() == ["not shown to change"]
    write(5800, -0.1, 0.05)
    assert verdicts() == ["changes"]


@pytest.mark.parametrize(("low", "said"), [(0.001, "it is confirmed"), (-0.001, "it is not")])
def test_the_confirmation_follows_its_interval(low, said):
    row = {"minus": "equal_budget SiamFC", "difference": 0.01, "low": low, "high": 0.02}
    assert said in documents.confirmed([row, row | {"minus": "SiamFC"}])
