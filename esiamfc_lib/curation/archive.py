"""A tar archive of ILSVRC2015-VID as a source of curation, streamed without unpacking.

The published download is one gzip-compressed archive of 86 GB, which can only be read from its
beginning to its end. Its annotations come before its images.
"""

import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from esiamfc_lib.curation.crops import Chunk, FrameFiles
from esiamfc_lib.curation.frames import CHUNK_FRAMES, Name, chunked
from esiamfc_lib.data.vid import TRAIN_GROUP
from esiamfc_lib.errors import StudyError

MEMBER = re.compile(
    r"(?:^|/)(Data|Annotations)/VID/(train|val)/(?:"
    + TRAIN_GROUP
    + r"\d+/)?([^/]+)/(\d+)\.(?:JPEG|xml)$"
)


class Image(NamedTuple):
    """An image in the archive; ``read`` works until the next one is asked for."""

    name: Name
    frame: int
    read: Callable[[], bytes]


class Annotations:
    """XML files of one video, compressed: 1.2 million of them would not fit into memory."""

    def __init__(self):
        self._open: dict[int, bytes] = {}
        self._packed: list[tuple[list[int], list[int], bytes]] = []

    def add(self, frame: int, data: bytes) -> None:
        """Add one file."""
        self._open[frame] = data

    def pack(self) -> None:
        """Compress what was added since the last time."""
        if self._open:
            block = zlib.compress(b"".join(self._open.values()))
            self._packed.append((list(self._open), [len(v) for v in self._open.values()], block))
            self._open = {}

    def files(self) -> dict[int, bytes]:
        """All files, by frame."""
        self.pack()
        files = {}
        for frames, lengths, packed in self._packed:
            block, start = zlib.decompress(packed), 0
            for frame, length in zip(frames, lengths, strict=True):
                files[frame] = block[start : start + length]
                start += length
        return files


class ArchiveSource:
    """A tar archive, plain or compressed, of a VID root.

    One pass is enough where a video's annotations come before its images; the videos of which the
    images come first are read in a second pass.

    Args:
        path: the archive.
        splits: which of ``train`` and ``val``.

    Raises:
        StudyError: no readable archive, or the images of a video are scattered over it.
    """

    unit = "B"
    content = None  # an archive of another size is another source

    def __init__(self, path: Path, splits: tuple[str, ...]):
        self._path, self._splits = path, splits
        try:
            self.total = path.stat().st_size
        except OSError as error:
            raise StudyError(f"cannot read {path}: {error.strerror}") from error
        # Hashing 86 GB would take as long as curating them.
        self.signatures = {"archive": f"{path.name}, {self.total} bytes"}
        self.position = 0

    def chunks(self, skip: set[Name]) -> Iterator[Chunk]:
        """The videos not in ``skip``, in the archive's order, each in one piece."""
        try:
            yield from self._chunks(skip)
        except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
            raise StudyError(f"cannot read the archive {self._path}: {error}") from error

    def _chunks(self, skip: set[Name]) -> Iterator[Chunk]:
        annotations: dict[Name, Annotations] = {}
        finished: set[Name] = set()
        late: set[Name] = set()
        for name, run in groupby(self._images(annotations), key=lambda image: image.name):
            if name in skip:
                continue
            if name not in annotations and name not in finished:
                late.add(name)
                continue
            yield from self._video(name, run, annotations, finished)
        if late:
            for name, run in groupby(self._images(None), key=lambda image: image.name):
                if name in late:
                    yield from self._video(name, run, annotations, finished)
        for name in sorted(set(annotations) - skip):
            files = annotations[name].files()
            yield from chunked(*name, [FrameFiles(n, files[n], None) for n in sorted(files)])

    def _video(
        self,
        name: Name,
        run: Iterator[Image],
        annotations: dict[Name, Annotations],
        finished: set[Name],
    ) -> Iterator[Chunk]:
        """One video's images with their annotations, then the annotations without an image."""
        if name in finished:
            raise StudyError(
                f"{self._path}: the images of {name[1]} are scattered over the "
                "archive; unpack it and give the folder"
            )
        finished.add(name)
        files = annotations.pop(name).files() if name in annotations else {}
        batch: list[FrameFiles] = []
        for image in run:
            if len(batch) == CHUNK_FRAMES:
                yield Chunk(*name, tuple(batch), last=False)
                batch = []
            batch.append(FrameFiles(image.frame, files.pop(image.frame, None), image.read()))
        rest = [FrameFiles(n, files[n], None) for n in sorted(files)]
        yield Chunk(*name, tuple(batch + rest), last=True)

    def _images(self, annotations: dict[Name, Annotations] | None) -> Iterator[Image]:
        """The images in the archive's order; annotations on the way are collected, if wanted."""
        previous: Name | None = None
        with (
            self._path.open("rb") as file,
            tarfile.open(fileobj=file, mode="r|*", bufsize=1 << 20) as archive,
        ):
            while (member := archive.next()) is not None:
                archive.members.clear()  # tarfile would keep millions of headers
                self.position = file.tell()
                match = MEMBER.search(member.name) if member.isfile() else None
                if not match or match[2] not in self._splits:
                    continue
                name, frame = (match[2], match[3]), int(match[4])
                if match[1] == "Data":
                    yield Image(name, frame, lambda m=member: archive.extractfile(m).read())
                elif annotations is not None:
                    if name != previous and previous in annotations:
                        annotations[previous].pack()
                    previous = name
                    data = archive.extractfile(member).read()
                    annotations.setdefault(name, Annotations()).add(frame, data)
