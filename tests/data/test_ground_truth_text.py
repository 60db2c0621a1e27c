"""Any text of ground truth is read to the right numbers, or refused with its line."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esiamfc_lib.data.benchmark_files import numbers
from esiamfc_lib.errors import StudyError

ALIKE = settings(derandomize=True, database=None, deadline=None, max_examples=200)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])
SEPARATORS = st.sampled_from([",", ", ", " , ", "\t", " ", "   ", " \t"])
FORMS = st.sampled_from(["{:.2f}", "{:g}", "{:.6e}", "{:+.3f}", "{:.0f}", "{:.17g}"])
VALUES = st.floats(-1e5, 1e5).map(lambda value: value if abs(value) > 1e-3 else 0.0)
ROW = st.lists(VALUES, min_size=4, max_size=4)
UNKNOWN = st.sampled_from(["nan", "NaN", "-nan", "NAN"]).flatmap(
    lambda word: st.integers(1, 8).map(lambda count: [word] * count)
)
# What people and programs leave in such files, and what looks much like a number.
FIELD = st.one_of(
    st.sampled_from(
        ["", "nan", "inf", "-", ".", "1e", "1e400", "0x10", "1_0", "١", "1,5", "#", "é"]
    ),
    st.integers(-999, 9999).map(str),
    st.text("0123456789.,-+eE \tnaNiIf;|#x\ufeff\x0b\x85\u2028", max_size=8),
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("truth") / "groundtruth.txt"


@ALIKE
@given(
    table=st.lists(st.one_of(ROW, UNKNOWN), min_size=1, max_size=6),
    form=FORMS, between=SEPARATORS, end=ENDS, mark=st.booleans(),
    blanks=st.lists(st.sampled_from(["", " ", "\t"]), max_size=3),
)  # fmt: skip
def test_what_is_right_is_read(file, table, form, between, end, mark, blanks):
    rows = [[v if isinstance(v, str) else form.format(v) for v in row] for row in table]
    text = end.join([*(between.join(row) for row in rows), *blanks])
    file.write_bytes(text.encode("utf-8-sig" if mark else "utf-8"))
    expected = [[np.nan] * 4 if isinstance(r[0], str) else list(map(float, rows[i]))
                for i, r in enumerate(table)]  # fmt: skip
    np.testing.assert_array_equal(numbers(file, (4,)), expected)


@ALIKE
@given(lines=st.lists(st.lists(FIELD, max_size=6), max_size=5), between=SEPARATORS, end=ENDS)
def test_anything_else_is_refused_with_its_line(file, lines, between, end):
    """What is accepted holds the numbers that the simplest reading gives, line by line."""
    file.write_bytes(end.join(between.join(fields) for fields in lines).encode())
    try:
        table = numbers(file, (4,))
    except StudyError as error:
        place = re.search(rf"^{re.escape(str(file))}, line (\d+): ", str(error))
        assert int(place[1]) >= 1
        return
    text = file.read_bytes().decode("utf-8-sig")
    plain = [line.strip() for line in re.split(r"\r\n|\r|\n", text)]
    plain = [line for line in plain if line and not line.startswith("#")]
    assert len(plain) == len(table)
    for line, row in zip(plain, table, strict=True):
        values = [float(field) for field in re.split(r"[,\s]+", line) if field]
        np.testing.assert_array_equal(row, [np.nan] * 4 if np.isnan(values).all() else values)


@ALIKE
@given(table=st.lists(ROW, min_size=1, max_size=5), bad=st.integers(0, 4), data=st.data())
def test_decimal_commas_never_pass(file, table, bad, data):
    bad %= len(table)
    between = data.draw(st.sampled_from(["\t", " ", ";", " ; ", ","]))
    lines = [",".join(f"{value:g}" for value in row) for row in table]
    lines[bad] = between.join(f"{value:.1f}".replace(".", ",") for value in table[bad])
    file.write_text("\n".join(lines))
    with pytest.raises(StudyError, match=rf", line {bad + 1}: "):
        numbers(file, (4,))


@ALIKE
@given(data=st.binary(max_size=60))
def test_bytes_are_read_or_refused(file, data):
    file.write_bytes(data)
    try:
        assert numbers(file, (4, 8)).shape[1] in (4, 8)
    except StudyError as error:
        assert str(file) in str(error)
