"""Where curation reads from: a folder in VID layout, or a tar archive of one (``archive``).

Both have ``signatures``, to see that a store is continued from the same source, ``total`` and
``unit`` for the progress bar, ``frames`` (how many, where that is known) and ``chunks(skip)``: the
frames, a few at a time, video by video."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from esiamfc_lib.curation.crops import Chunk, FrameFiles, Name, read_files
from esiamfc_lib.data.vid import VID, note_place
from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.runtime.files import digest_of

CHUNK_FRAMES = 16


class FolderSource:
    """A VID root on disk; ``part`` (i, n) is every n-th video from the i-th on (0-based), for
    machines that share the work. A StudyError if it cannot be listed, or two videos share a name.
    """

    unit = "frame"

    def __init__(self, root: Path, splits: tuple[str, ...], part: tuple[int, int] = (0, 1)):
        self._vid = {split: VID(root, split) for split in splits}
        for vid in self._vid.values():
            if not vid.videos:
                raise StudyError(f"{root} holds no videos in {vid.split}")
        names = [(split, video) for split in sorted(self._vid) for video in self._vid[split].videos]
        places: dict[str, Path] = {}
        for split, video in names:
            note_place(places, video, Path(split, video), root)
        self.names: list[Name] = names[part[0] :: part[1]]
        if not self.names:
            raise StudyError(f"{root} holds {len(names)} videos: no part {part[0] + 1}/{part[1]}")
        # Threads, because on a network file system listing is waiting.
        with ThreadPoolExecutor(8) as threads:
            listed = dict(zip(self.names, threads.map(self._list, self.names), strict=True))
        self._n_frames = {name: count for name, (count, _) in listed.items()}
        self.signatures = {"/".join(name): signature for name, (_, signature) in listed.items()}
        self.frames = self.total = sum(self._n_frames.values())

    def _list(self, name: Name) -> tuple[int, str]:
        """Number of frames, and a digest of the names, sizes and times of a video's files."""
        images, annotations = self._vid[name[0]].frames(name[1])
        with refused(f"cannot list {name[1]}", OSError):
            found = [(path.name, path.stat()) for path in (*images.values(), *annotations.values())]
        lines = sorted(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in found)
        return len(images | annotations), digest_of(line.encode() for line in lines)

    def content(self, key: str) -> str:
        """Digest of all files of the video ``split/video``."""
        files = self._files(*key.split("/", 1))
        return digest_of(digest_of(read_files(frame)[:2]).encode() for frame in files)

    def chunks(self, skip: set[Name], most: int = 0) -> Iterator[Chunk]:
        """The videos not in ``skip``, in order; ``most`` > 0: about so many frames per video."""
        before = 0
        for name in self.names:
            if name not in skip:
                at, files = before, self._files(*name)
                step = len(files) // most if 0 < most < len(files) else 1
                for frames, last in chunked(files[::step][: most or None]):
                    at += len(frames)
                    yield Chunk(name, frames, last, at)
            before += self._n_frames[name]

    def _files(self, split: str, video: str) -> list[FrameFiles]:
        """Both files of every frame of a video, in order."""
        images, annotations = self._vid[split].frames(video)
        numbers = sorted(images.keys() | annotations.keys())
        return [FrameFiles(n, annotations.get(n), images.get(n)) for n in numbers]


def chunked(frames: Iterable[FrameFiles]) -> Iterator[tuple[tuple[FrameFiles, ...], bool]]:
    """At most ``CHUNK_FRAMES`` at a time, and whether they are the last; at least one chunk."""
    frames = iter(frames)
    chunk = tuple(islice(frames, CHUNK_FRAMES))
    while following := tuple(islice(frames, CHUNK_FRAMES)):
        yield chunk, False
        chunk = following
    yield chunk, True
