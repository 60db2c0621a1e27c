"""Files: whole or not at all, and their digests."""

import hashlib
from pathlib import Path

import pytest

from esiamfc_lib.errors import StudyError, in_words
from esiamfc_lib.runtime.files import (
    exclusive,
    file_digest,
    in_order,
    plain_name,
    writable_file,
    writable_folder,
    write_atomically,
)


def test_file_digest_is_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert file_digest(tmp_path / "f") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(StudyError, match=r"no such file: .*absent"):
        file_digest(tmp_path / "absent")


@pytest.mark.parametrize(
    "content", ["text é", "text é".encode(), lambda f: f.write("text é".encode())]
)
def test_texts_bytes_and_functions_are_written(tmp_path, content):
    file = tmp_path / "made" / "on the way" / "f"
    write_atomically(file, content)
    assert file.read_text(encoding="utf-8") == "text é"
    assert [path.name for path in file.parent.iterdir()] == ["f"]


@pytest.mark.parametrize(
    "names",
    [
        ("1.jpg", "2.jpg", "10.jpg"),
        ("frame 9.png", "Frame 10.PNG", "frame 100.png"),
        ("a2_1.jpg", "a2_09.jpg", "a10_2.jpg"),
        ("000009.JPEG", "000010.JPEG", "1000000.JPEG"),
    ],
)
def test_numbers_in_names_give_the_order_and_hidden_files_are_passed_over(names):
    others = [f"._{names[0]}", ".DS_Store", ".ipynb_checkpoints", "__MACOSX"]
    found = in_order(Path("folder", name) for name in sorted([*names, *others], reverse=True))
    assert [path.name for path in found] == list(names)


@pytest.mark.parametrize("other", ["01.jpg", "1.png", "1.JPG"])
def test_two_files_of_one_number_are_refused(other):
    with pytest.raises(StudyError, match=r"folder: .* and .* have the same number"):
        in_order([Path("folder/1.jpg"), Path("folder/2.jpg"), Path("folder", other)])


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    write_atomically(tmp_path / "f", "old")
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "f", fail)
    assert (tmp_path / "f").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_folder_has_one_holder_at_a_time(tmp_path):
    folder = tmp_path / "made" / "here"
    with exclusive(folder, "held"):
        before = (folder / ".lock").stat().st_mtime_ns
        with pytest.raises(StudyError, match=r"^held$"):
            exclusive(folder, "held")
    with exclusive(folder, "held"):
        assert (folder / ".lock").stat().st_mtime_ns == before
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="cannot write to"):
        exclusive(tmp_path / "file" / "folder", "held")


def test_an_output_is_known_to_be_writable_before_there_is_any(tmp_path):
    folder = writable_folder(tmp_path / "a" / "b")
    assert not list(folder.iterdir())
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StudyError, match=rf"cannot write to {path}: "):
            writable_folder(path)
    assert writable_file(folder / "new" / "out.txt", tmp_path / "file").parent.is_dir()
    with pytest.raises(StudyError, match="it is a folder"):
        writable_file(folder)


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_an_output_is_no_source_by_another_name(tmp_path, link):
    source, output = tmp_path / "source", tmp_path / "output"
    source.write_text("x")
    getattr(output, link)(source)
    for one, other in ((output, source), (source, output), (tmp_path / "." / "source", source)):
        with pytest.raises(StudyError, match="its own source"):
            writable_file(one, "nothing", other)
    with pytest.raises(StudyError, match="its own source"):
        writable_file(tmp_path / "new", tmp_path)
    assert writable_file(tmp_path / "else", source, output) == tmp_path / "else"


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        ".",
        "..",
        "../x",
        "/etc/x",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        "\udcff",
        ".hidden",
        "é" * 101,
    ],
)
def test_a_name_that_leads_elsewhere_is_none(name):
    with pytest.raises(StudyError, match=r"^list.txt, line 3: .* is not a plain name"):
        plain_name(name, "list.txt, line 3")


def test_names_that_people_use_are_plain():
    for name in ("Jogging.1", "a b", "Ball-2_x (1)", "球"):
        assert plain_name(name, "here") == name


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device"), "f: No space left on device"),
        (OSError("376 requested and 0 written"), "f: No space left on device, it seems (376 "),
    ],
)
def test_what_the_system_refuses_names_the_file(tmp_path, error, said):
    def fail(file):
        raise error

    with pytest.raises(OSError) as refused:
        write_atomically(tmp_path / "f", fail)
    assert in_words(refused.value).removeprefix(f"{tmp_path}/").startswith(said)

    def hide(file):
        try:
            fail(file)
        except OSError:
            raise RuntimeError("unexpected pos 18240 vs 18160")  # noqa: B904  as PyTorch does

    with pytest.raises(OSError) as refused:
        write_atomically(tmp_path / "f", hide)
    assert in_words(refused.value).removeprefix(f"{tmp_path}/").startswith(said)
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OSError) as refused:
        write_atomically(tmp_path / "folder", "text")
    assert in_words(refused.value) == f"{tmp_path}/folder: Is a directory"
