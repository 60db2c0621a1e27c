"""A tar archive of ILSVRC2015-VID as a source of curation, streamed without unpacking.

The published download is one gzip-compressed archive of 86 GB, which can only be read from its
beginning to its end. Its annotations come before its images."""

import math
import pickle
import re
import shutil
import tarfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from esiamfc_lib.curation.crops import Chunk, FrameFiles, Name
from esiamfc_lib.curation.frames import chunked
from esiamfc_lib.data.images import MOST_BYTES, TOO_LARGE
from esiamfc_lib.data.sequence import evenly_spaced
from esiamfc_lib.data.vid import MOST_XML, frame_of, note_place
from esiamfc_lib.errors import DAMAGE, StudyError, refused
from esiamfc_lib.runtime.files import visible

MEMBER = re.compile(r"(?:^|/)(Data|Annotations)/VID/(train|val)/([^\0]+/[^\0]+)$")
MOST = {"Data": MOST_BYTES, "Annotations": MOST_XML}
UNREADABLE = (*DAMAGE, tarfile.TarError, RecursionError, zlib.error)
MOST_MEMBER = 1 << 34  # bytes: to pass over more takes time, even where nothing is
BUFFER = 1 << 14  # bytes: a thousand times as many may come out of them, unpacked


class Member(NamedTuple):
    """A file in an archive."""

    part: str  # Data (images) or Annotations
    name: Name
    frame: int
    at: int  # how many bytes of the archive have been read
    # Gives the content, or says what forbids to; works until the next member is asked for.
    read: Callable[[], bytes | str]


class _Header(tarfile.TarInfo):
    """A member's header: a broken one does not end the archive, and no name is of megabytes."""

    @classmethod
    def frombuf(cls, *block) -> tarfile.TarInfo:
        try:
            header = super().frombuf(*block)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"{error}: it is damaged or cut short") from error
        if not 0 <= header.size <= (MOST_XML if header.type in b"LKxgX" else MOST_MEMBER):
            raise tarfile.ReadError(f"a name or file of {header.size:,} bytes")
        return header


def members(path: Path, splits: Iterable[str]) -> Iterator[Member]:
    """The images and annotations of an archive, in its order; a StudyError if unreadable."""
    places, run, seen = {}, None, set()  # of videos; the last one, and its frames
    opened = partial(tarfile.open, mode="r|*", bufsize=BUFFER, tarinfo=_Header)
    fault = f"cannot read the archive {path}", UNREADABLE
    with refused(*fault), path.open("rb") as file, opened(fileobj=file) as archive:

        @refused(*fault)
        def content(entry: tarfile.TarInfo, most: int) -> bytes | str:
            fits = entry.size <= most
            return archive.extractfile(entry).read() if fits else TOO_LARGE.format(most)

        while (entry := archive.next()) is not None:
            archive.members.clear()  # tarfile would keep millions of headers
            if entry.size > MOST_MEMBER:  # set by an extended header
                raise tarfile.ReadError(f"a file of {entry.size:,} bytes")
            match = MEMBER.search(entry.name) if entry.isfile() else None
            if not match or match[2] not in splits:
                continue
            part, split, place = match[1], match[2], PurePosixPath(match[3])
            frame, name = frame_of(part, place), (split, place.parent.name)
            if frame is not None and all(map(visible, place.parts)):
                note_place(places, name, place.parent, path)
                if run != (run := (part, name)):
                    seen.clear()
                if frame in seen:
                    raise StudyError(f"{path}: frame {frame} of {name[1]} is there twice")
                seen.add(frame)
                yield Member(part, name, frame, file.tell(), partial(content, entry, MOST[part]))


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
        finished, late = set[Name](), set[Name]()
        for (name, part), run in self._runs():
            if name in skip:
                continue
            if part == "Annotations":
                files = {member.frame: member.read() for member in run}
                annotations[name].append(zlib.compress(pickle.dumps(files)))
            elif name in annotations or name in finished:
                yield from self._video(name, run, annotations.pop(name, []), finished)
            else:
                late.add(name)
        for (name, part), run in self._runs() if late else ():
            if name in late and part == "Data":
                yield from self._video(name, run, annotations.pop(name, []), finished)
        for name in sorted(annotations):
            yield from self._video(name, [], annotations[name], finished)
        if lacking := sorted(set(self._splits) - {split for split, _ in finished | skip}):
            raise StudyError(f"{self._path} holds no videos in {', '.join(lacking)}")

    def _runs(self) -> Iterator[tuple[tuple[Name, str], Iterator[Member]]]:
        """Files that lie side by side and are of one video and one part."""
        return groupby(members(self._path, self._splits), key=attrgetter("name", "part"))

    def _video(self, name: Name, images: Iterable, packed: list, finished: set) -> Iterator[Chunk]:
        """One video's images with their annotations, then the annotations without an image."""
        if name in finished:
            said = f"the files of {name[1]} are scattered over the archive"
            raise StudyError(f"{self._path}: {said}; unpack it and give the folder")
        finished.add(name)
        files: dict[int, bytes | str] = {}
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
            yield Chunk(name, frames, last, at)


def unpack_validation(path: Path, folder: Path, count: int) -> bool:
    """Write ``count`` validation videos of an archive, evenly over their names, as a VID root,
    since tracking needs them frame by frame; False if it holds none. A ``folder`` that is there
    stays. The archive is read twice, for the names and for the videos."""
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
            if isinstance(data := member.read(), bytes):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
    begun.rename(folder)
    return True
