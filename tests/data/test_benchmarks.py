"""Every layout is read, in full and in part; faults are named."""

import shutil

import benchmark_layouts as layouts
import built_in
import numpy as np
import pandas as pd
import pytest

from esiamfc_lib.data import benchmarks
from esiamfc_lib.errors import StudyError
from esiamfc_lib.evaluation import runs
from esiamfc_lib.tracking.spec import tracker_specs

FRAMES = 8


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The built-in data: three sequences of eight small frames in each of its layouts."""
    return built_in.make(
        tmp_path_factory.mktemp("benchmarks") / "built-in",
        otb_sequences=3,
        vot_sequences=3,
        got10k_sequences=3,
        test_frames=FRAMES,
    )


@pytest.fixture(scope="module")
def roots(data):
    """Benchmark → a root in its layout."""
    sequences, _ = benchmarks.read_benchmark("otb2015", data.otb)
    made = data.root / "layouts"
    layouts.uav123(made / "uav", sequences)
    layouts.dtb70(made / "dtb", sequences)
    layouts.tcolor128(made / "tcolor", sequences)
    layouts.nfs(made / "nfs", sequences, 30)
    layouts.nfs(made / "nfs240", sequences, 240)
    layouts.lasot(made / "lasot", sequences)
    layouts.got10k_test(made / "got10k", sequences)
    layouts.vot_color(made / "vot", sequences)
    return {
        **dict.fromkeys(("otb2013", "otb50", "otb2015"), data.otb),
        **{f"vot{year}": data.vot for year in range(2013, 2018)},
        "vot2018": made / "vot",
        "got10k-val": data.got10k,
        "got10k-test": made / "got10k",
        "uav123": made / "uav",
        "dtb70": made / "dtb",
        "tcolor128": made / "tcolor",
        "nfs30": made / "nfs",
        "nfs240": made / "nfs240",
        "lasot": made / "lasot",
    }


@pytest.mark.parametrize("benchmark", benchmarks.READERS)
def test_every_layout_from_the_files_to_the_scores(benchmark, roots, tmp_path):
    specs = tracker_specs(["identity"])
    scores = runs.evaluate(specs, benchmark, roots[benchmark], tmp_path)
    assert len(scores) == 3
    sequences, _ = benchmarks.read_benchmark(benchmark, roots[benchmark])
    for sequence in sequences:
        assert len(sequence.frames) == len(sequence.boxes) >= FRAMES
        assert np.isfinite(sequence.boxes[0]).all()
    protocol = {"vot": "failures", "got10k-test": "frames"}
    column = protocol.get(benchmark[:3]) or protocol.get(benchmark) or "success"
    assert scores[column].notna().all()


@pytest.mark.parametrize("benchmark", ["dtb70", "tcolor128", "lasot", "nfs30", "nfs240"])
def test_all_layouts_hold_the_same_boxes(benchmark, roots, data):
    truth, _ = benchmarks.read_benchmark("otb2015", data.otb)
    read, _ = benchmarks.read_benchmark(benchmark, roots[benchmark])
    for expected, found in zip(truth, read, strict=True):
        seen = ~np.isnan(found.boxes).any(axis=1)
        np.testing.assert_allclose(found.boxes[seen], expected.boxes[seen])


def test_otb_files_count_from_1_and_the_library_from_0(tmp_path, data):
    folder = tmp_path / "OTB" / "Thing"
    (folder / "img").mkdir(parents=True)
    frame = next((data.otb).glob("*/img/0001.jpg"))
    for i in (1, 2):
        (folder / "img" / f"{i:04d}.jpg").symlink_to(frame)
    (folder / "groundtruth_rect.txt").write_text("1\t1\t10\t20\n5, 6, 7, 8\n")
    (sequence,), _ = benchmarks.read_benchmark("otb2015", tmp_path / "OTB")
    assert sequence.boxes.tolist() == [[0, 0, 10, 20], [4, 5, 7, 8]]
    assert benchmarks.to_file(sequence.boxes, "otb2015").tolist()[1] == [5, 6, 7, 8]
    assert benchmarks.to_file(sequence.boxes, "nfs30").tolist()[1] == [4, 5, 7, 8]


def test_a_part_of_otb_says_what_is_missing(tmp_path, data):
    sequences, _ = benchmarks.read_benchmark("otb2015", data.otb)
    layouts.official_otb(tmp_path, sequences)
    read, missing = benchmarks.read_benchmark("otb2015", tmp_path)
    assert [s.name for s in read] == ["Basketball", "Jogging.1", "Jogging.2"]
    assert len(missing) == 97
    assert benchmarks.title("otb2015", tmp_path) == "otb2015"
    assert "Skating2.2" in missing
    assert benchmarks.total("otb2015", len(read), missing, built_in=False) == 100
    assert len(benchmarks.read_benchmark("otb2015", tmp_path, limit=2)[0]) == 2
    # Neither of the two is an OTB-50 sequence with the same number of targets.
    assert len(benchmarks.read_benchmark("otb50", tmp_path)[1]) == 49


def test_the_built_in_data_is_complete_by_itself(data):
    read, missing = benchmarks.read_benchmark("otb2015", data.otb)
    assert (len(read), missing) == (3, [])
    assert benchmarks.title("otb2015", data.otb) == "built-in, otb2015 layout"
    assert benchmarks.title("vot2018", data.vot) == "built-in, vot2018 layout"
    assert benchmarks.title("vid-val", data.vid) == "built-in, vid-val layout"
    assert benchmarks.total("vot2018", 3, [], built_in=True) == 3
    assert benchmarks.total("vot2018", 3, [], built_in=False) == 60


def test_ones_own_sequences_are_called_so(data, tmp_path):
    shutil.copytree(data.otb, tmp_path / "otb")
    assert benchmarks.title("otb2015", tmp_path / "otb") == "own data, otb2015 layout"
    assert benchmarks.title("vid-val", data.otb / "..") == "vid-val"


def test_families_and_attributes_of_the_built_in_data(data):
    families = pd.read_csv(data.families_csv, keep_default_na=False).set_index("video")
    for benchmark, root in (("otb2015", data.otb), ("got10k-val", data.got10k)):
        for sequence in benchmarks.read_benchmark(benchmark, root)[0]:
            assert sequence.family == families.loc[sequence.name, "family"]
            assert " ".join(sequence.attributes) == families.loc[sequence.name, "attributes"]


def test_vot_keeps_the_polygons_and_labels(data, tmp_path):
    read, _ = benchmarks.read_benchmark("vot2016", data.vot)
    assert read[0].regions.shape == (FRAMES, 8)
    # The box has the polygon's centre, 0-based.
    center = read[0].regions.reshape(-1, 4, 2).mean(axis=1) - 1
    np.testing.assert_allclose(read[0].boxes[:, :2] + (read[0].boxes[:, 2:] - 1) / 2, center)
    assert all(flags.shape == (FRAMES,) for flags in read[0].labels.values())


def test_vot_sequences_that_are_listed_but_not_there(data, roots, tmp_path):
    layouts.vot_color(tmp_path, benchmarks.read_benchmark("otb2015", data.otb)[0])
    with (tmp_path / "list.txt").open("a") as file:
        file.write("ants1\n")
    read, missing = benchmarks.read_benchmark("vot2018", tmp_path)
    assert (len(read), missing) == (3, ["ants1"])


def test_hidden_frames_have_no_ground_truth(roots, tmp_path):
    (first, *_), missing = benchmarks.read_benchmark("lasot", roots["lasot"])
    assert np.flatnonzero(np.isnan(first.boxes[:, 0])).tolist() == [3]
    assert first.attributes == ("full_occlusion",)
    assert len(missing) == 277
    (first, *_), missing = benchmarks.read_benchmark("uav123", roots["uav123"])
    assert np.flatnonzero(np.isnan(first.boxes[:, 0])).tolist() == [5]
    assert first.attributes == ("scale variation", "camera motion")
    assert len(missing) == 120


def test_got10k_covered_frames_do_not_count(data, tmp_path):
    (first, *_), _ = benchmarks.read_benchmark("got10k-val", data.got10k)
    cover = np.loadtxt(data.got10k / "val" / first.name / "cover.label")
    hidden = np.isnan(first.boxes[:, 0])
    np.testing.assert_array_equal(hidden[1:], cover[1:] == 0)


def test_the_test_set_gives_its_first_box_only(roots):
    (first, *_), _ = benchmarks.read_benchmark("got10k-test", roots["got10k-test"])
    assert np.isfinite(first.boxes[0]).all()
    assert np.isnan(first.boxes[1:]).all()


def test_real_sequences(shared):
    read, missing = benchmarks.read_benchmark("otb2015", shared / "real" / "OTB")
    assert (len(read), len(missing)) == (12, 88)
    lengths = {sequence.name: len(sequence) for sequence in read}
    assert lengths["Diving"] == 215
    assert lengths["Girl"] == 500
    read, missing = benchmarks.read_benchmark("vot2014", shared / "real" / "VOT2014")
    assert [s.name for s in read] == ["diving", "motocross", "surfing"]
    assert "camera_motion" in read[0].attributes
    assert benchmarks.title("vot2014", shared / "real" / "VOT2014") == "vot2014"


def test_faults_are_named(tmp_path, data):
    with pytest.raises(StudyError, match="unknown benchmark 'otb1999'"):
        benchmarks.read_benchmark("otb1999", tmp_path)
    with pytest.raises(StudyError, match="no folder"):
        benchmarks.read_benchmark("otb2015", tmp_path / "nowhere")
    for benchmark in benchmarks.READERS:
        with pytest.raises(StudyError, match=benchmark):
            benchmarks.read_benchmark(benchmark, tmp_path)
    layouts.dtb70(tmp_path, benchmarks.read_benchmark("otb2015", data.otb)[0])
    broken = tmp_path / "Otb001" / "groundtruth_rect.txt"
    lines = broken.read_text().splitlines()
    broken.write_text("\n".join(lines[:-1]))
    with pytest.raises(StudyError, match=rf"dtb70: {broken}: 7 lines for 8 frames"):
        benchmarks.read_benchmark("dtb70", tmp_path)
    broken.write_text("\n".join(["a,b,c,d", *lines[1:]]))
    with pytest.raises(
        StudyError, match=r"Otb001/.*, line 1: 0 numbers in .a,b,c,d., where 4 are expected"
    ):
        benchmarks.read_benchmark("dtb70", tmp_path)
    broken.write_text("\n".join(["nan,nan,nan,nan", *lines[1:]]))
    with pytest.raises(StudyError, match="no box in its first frame"):
        benchmarks.read_benchmark("dtb70", tmp_path)


def test_fingerprint_follows_the_data(data):
    sequences, _ = benchmarks.read_benchmark("otb2015", data.otb)
    digests = {benchmarks.sequence_digest(sequence) for sequence in sequences}
    assert len(digests) == 3
    again = benchmarks.read_benchmark("otb2015", data.otb)[0][0]
    assert benchmarks.sequence_digest(again) in digests
    again.boxes[3, 0] += 1
    assert benchmarks.sequence_digest(again) not in digests
