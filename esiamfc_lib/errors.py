"""What is meant for the user's eyes: one exception, and the words for the system's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from zipfile import BadZipFile

DAMAGE = (BadZipFile, EOFError, LookupError, OSError, TypeError, ValueError)  # of unsound files


class StudyError(Exception):
    """Something outside the program is wrong: a file, a parameter, a missing data set.

    The message is one clear sentence that names the file or parameter and the fault. The command
    line prints it without a traceback and exits with status 2."""


@contextmanager
def refused(sentence: str, kinds: type | tuple[type, ...] = DAMAGE) -> Iterator[None]:
    """Turn exceptions of these ``kinds`` into a StudyError: the sentence, then their own words."""
    try:
        yield
    except kinds as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())
        said = said.partition(". If you trust")[0]  # NumPy tells how to load it all the same
        if (file := str(getattr(error, "filename", None) or "")) not in sentence:
            said = f"{file}: {said}"
        raise StudyError(f"{sentence}: {said}") from error


def in_words(error: StudyError | OSError) -> str:
    """What is wrong; of what the system refused with the file: ``x.csv: Permission denied``."""
    where = f"{error.filename}: " if getattr(error, "filename", "") else ""
    return f"{where}{getattr(error, 'strerror', '') or error}"
