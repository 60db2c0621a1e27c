"""A tar archive of ILSVRC2015-VID as a source of curation, streamed without unpacking.

The published download is one gzip-compressed archive of 86 GB, which can only be read from its
beginning to its end. Its annotations come before its images.
"""

import math
import pickle
import re
import shutil
import tarfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from esiamfc_lib.curation.crops import Chunk, FrameFiles
from esiamfc_lib.curation.frames import Name, chunked
from esiamfc_lib.data.sequence import evenly_spaced
from esiamfc_lib.data.vid import TRAIN_GROUP
from esiamfc_lib.errors import StudyError

MEMBER = re.compile(
    rf"(?:^|/)(Data|Annotations)/VID/(train|val)/(?:{TRAIN_GROUP}\d+/)?([^/]+)/(\d+)\.(?:JPEG|xml)$"
)


class Member(NamedTuple):
    """A file in an archive."""

    part: str  # Data (images) or Annotations
    name: Name
    frame: int
    at: int  # how many bytes of the archive have been read
    read: Callable[[], bytes]  # works until the next member is asked for


def members(path: Path, splits: Iterable[str]) -> Iterator[Member]:
    """The images and annotations of an archive, in its order; a StudyError if unreadable."""
    with (
        readable(path),
        path.open("rb") as file,
        tarfile.open(fileobj=file, mode="r|*", bufsize=1 << 20) as archive,
    ):

        def content(entry: tarfile.TarInfo) -> bytes:
            with readable(path):
                return archive.extractfile(entry).read()

        while (entry := archive.next()) is not None:
            archive.members.clear()  # tarfile would keep millions of headers
            match = MEMBER.search(entry.name) if entry.isfile() else None
            if match and match[2] in splits:
                part, name, frame = match[1], (match[2], match[3]), int(match[4])
                yield Member(part, name, frame, file.tell(), partial(content, entry))


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what goes wrong in reading an archive into one sentence."""
    try:
        yield
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise StudyError(f"cannot read the archive {path}: {error}") from error


class ArchiveSource:
    """A tar archive of a VID root; videos whose images come first are read in a second pass."""

    unit = "B"
    frames = math.inf  # not known before the end
    content = None  # an archive of another size is another source

    def __init__(self, path: Path, splits: tuple[str, ...]):
        self._path, self._splits, self.total = path, splits, path.stat().st_size
        # Hashing 86 GB would take as long as curating them.
        self.signatures = {"archive": f"{path.name}, {self.total} bytes"}

    def chunks(self, skip: set[Name]) -> Iterator[Chunk]:
        """The videos not in ``skip``, in the archive's order, each in one piece."""
        # 1.2 million XML files would not fit into memory: compressed, a video at a time.
        annotations: dict[Name, list[bytes]] = defaultdict(list)
        finished: set[Name] = set()
        late: set[Name] = set()
        for name, part, run in self._runs():
            if name in skip:
                continue
            if part == "Annotations":
                files = {member.frame: member.read() for member in run}
                annotations[name].append(zlib.compress(pickle.dumps(files)))
            elif name in annotations or name in finished:
                yield from self._video(name, run, annotations.pop(name, []), finished)
            else:
                late.add(name)
        for name, part, run in self._runs() if late else ():
            if name in late and part == "Data":
                yield from self._video(name, run, annotations.pop(name, []), finished)
        for name in sorted(annotations):
            yield from self._video(name, [], annotations[name], finished)

    def _runs(self) -> Iterator[tuple[Name, str, Iterator[Member]]]:
        """Files that lie side by side and are of one video and one part."""
        found = members(self._path, self._splits)
        for (name, part), run in groupby(found, key=lambda member: (member.name, member.part)):
            yield name, part, run

    def _video(
        self, name: Name, images: Iterable[Member], packed: list[bytes], finished: set[Name]
    ) -> Iterator[Chunk]:
        """One video's images with their annotations, then the annotations without an image."""
        if name in finished:
            raise StudyError(
                f"{self._path}: the files of {name[1]} are scattered over the archive; unpack it "
                "and give the folder"
            )
        finished.add(name)
        files: dict[int, bytes] = {}
        for block in packed:
            files |= pickle.loads(zlib.decompress(block))
        at = self.total

        def frames_of_it() -> Iterator[FrameFiles]:
            nonlocal at
            for image in images:
                at = image.at
                yield FrameFiles(image.frame, files.pop(image.frame, None), image.read())
            for frame in sorted(files):
                yield FrameFiles(frame, files[frame], None)

        for frames, last in chunked(frames_of_it()):
            yield Chunk(*name, frames, last, at)


def unpack_validation(path: Path, folder: Path, count: int) -> bool:
    """Write ``count`` validation videos of an archive, evenly over their names, as a VID root,
    since tracking needs them frame by frame; False if it holds none. A ``folder`` that is there
    stays. The archive is read twice, for the names and for the videos.
    """
    if folder.is_dir():
        return True
    names = sorted({member.name for member in members(path, ("val",))})
    if not names:
        return False
    chosen = {names[i] for i in evenly_spaced(len(names), count)}
    begun = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(begun, ignore_errors=True)
    for member in members(path, ("val",)):
        if member.name in chosen:
            ending = "JPEG" if member.part == "Data" else "xml"
            file = begun / member.part / "VID/val" / member.name[1] / f"{member.frame:06d}.{ending}"
            data = member.read()
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
            except OSError as error:
                raise StudyError(f"cannot write {file}: {error.strerror}") from error
    begun.rename(folder)
    return True
