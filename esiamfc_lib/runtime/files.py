"""Files: written whole or not at all, and known by their digest."""

import errno
import fcntl
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, TextIO

from esiamfc_lib.errors import StudyError, refused

LONGEST_NAME = 200  # bytes: systems take 255, with an ending and what marks a temporary file


@contextmanager
def replacing(path: Path, ending: str = "") -> Iterator[Path]:
    """A file beside ``path`` to write; it takes that name when the block ends without an error.
    Until then it has no ``ending`` that others look for: a killed process leaves it. An OSError
    names ``path``: that of a full disk names no file, NumPy and Pillow give no reason."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{ending}")
    try:
        yield temporary
        temporary.replace(path)
    except (OSError, RuntimeError) as error:  # PyTorch hides the system's behind its own
        fault = error if isinstance(error, OSError) else error.__context__
        if not isinstance(fault, OSError):
            raise
        reason = fault.strerror or f"{os.strerror(errno.ENOSPC)}, it seems ({fault})"
        named = path if fault.filename in (None, str(temporary)) else fault.filename
        raise OSError(fault.errno or errno.ENOSPC, reason, str(named)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: str | Path, content: str | bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file so that, whatever happens, ``path`` holds the old bytes or all of the new.
    ``content`` is text, bytes, or a function that writes into the open binary file. The folder is
    made if need be. An OSError names ``path``."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        if callable(content):
            content(file)
        else:
            file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def writable_folder(path: str | Path) -> Path:
    """A folder for output, made if missing; a StudyError where no file can be made in it."""
    with refused(f"cannot write to {path}", OSError):
        Path(path).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return Path(path)


def check_writable(folder: Path) -> None:
    """A StudyError where a folder, which need not be there yet, cannot be written to."""
    there = next(path for path in (folder, *folder.parents) if path.is_symlink() or path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise StudyError(f"cannot write to {folder}: {there} is not a folder, or read-only here")


def apart(output: str | Path, *sources: str | Path) -> None:
    """A StudyError where an output is one of its ``sources`` by whatever name, lies in one or holds
    one; also where links lead in a circle, or a path to the home of nobody."""
    places = []
    for path in (output, *sources):
        with refused(f"cannot use {path}", (OSError, RuntimeError)):
            places.append(Path(path).expanduser().resolve())
    own, *others = places
    for source, other in zip(sources, others, strict=True):
        same = own.exists() and other.exists() and own.samefile(other)  # hard links
        if same or own.is_relative_to(other) or other.is_relative_to(own):
            how = "holds" if own in other.parents else "lies in" if other in own.parents else "is"
            raise StudyError(f"{output} {how} its own source {source}: choose another output")


def writable_file(path: str | Path, *sources: str | Path) -> Path:
    """A file for output in a ``writable_folder``, ``apart`` from its sources; what may be there
    already is replaced. A StudyError if it is a folder."""
    path = Path(path)
    apart(path, *sources)
    if path.is_dir():
        raise StudyError(f"cannot write to {path}: it is a folder")
    return writable_folder(path.parent) / path.name


def exclusive(folder: str | Path, held: str, wait: bool = False) -> TextIO:
    """Keep other processes off a folder, made if missing, by a locked file ``.lock`` in it. When
    another process has it, the sentence ``held`` is raised as a StudyError or, with ``wait``,
    printed while this one waits. The lock ends when the file that is given is closed (it is a
    context manager) or the process ends."""
    file = (writable_folder(folder) / ".lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if not wait:
            file.close()
            taken = isinstance(error, BlockingIOError)
            raise StudyError(held if taken else f"{file.name}: {error.strerror}") from error
        sys.stderr.write(f"{held}\n")
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def visible(name: str) -> bool:
    """Whether a name is of the user's own file, not of what macOS and Jupyter leave beside it."""
    return not name.startswith((".", "__MACOSX"))  # ._0001.jpg, .ipynb_checkpoints


def plain_name(name: str, where: str | Path) -> str:
    """The name, if it is that of one visible file or folder and leads nowhere else; a StudyError
    that begins with ``where`` it stands if not."""
    leads = not name.isprintable() or any(mark in name for mark in "/\\")
    if leads or not name.strip() or not visible(name) or len(name.encode()) > LONGEST_NAME:
        raise StudyError(f"{where}: {name[:80]!r} is not a plain name of a file or folder")
    return name


def in_order(paths: Iterable[Path]) -> list[Path]:
    """The visible ones of the files in one folder, by the numbers in their names (2 before 10). A
    StudyError for two names that differ in nothing but leading zeros, case or ending, as ``1.jpg``
    and ``01.jpg``: which of them counts nobody can tell."""

    def key(path: Path) -> list[str | int]:
        parts = re.split(r"(\d+)", path.stem.casefold())  # text and numbers in turn
        return [int(part) if i % 2 else part for i, part in enumerate(parts)]

    ordered = sorted((key(path), path) for path in paths if visible(path.name))
    for (one, first), (other, second) in pairwise(ordered):
        if one == other:
            raise StudyError(f"{first.parent}: {first.name} and {second.name} have the same number")
    return [path for _, path in ordered]


def existing(path: str | Path) -> Path:
    """The path of a file that is there, else a StudyError."""
    if not Path(path).is_file():
        raise StudyError(f"{'not a' if Path(path).exists() else 'no such'} file: {path}")
    return Path(path)


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits; a StudyError if it cannot be read."""
    with refused(f"cannot read {path}", OSError), existing(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of(parts: Iterable[bytes]) -> str:
    """Hexadecimal digest (128 bit) of a series of byte strings."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()
