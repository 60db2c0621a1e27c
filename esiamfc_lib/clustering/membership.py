"""The split of the tracks into clusters, as a table and its files."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from esiamfc_lib.errors import StudyError, refused
from esiamfc_lib.networks import checkpoints
from esiamfc_lib.runtime.files import text_digest, write_atomically

TABLE, CENTRES = "membership.csv", "centres.npz"
COLUMNS = ["track", "cluster", "second", "distance", "second_distance"]
MEMBERSHIPS = ("nearest", "nearest+second", "all")


@dataclass(frozen=True)
class Partition:
    """Tracks, their clusters, and the clusters' centres. A row of ``table`` is a ``track``, its
    ``cluster``, the ``second`` nearest one, and ``distance`` and ``second_distance`` to their
    centres, (k, d) float32 plain means of features. ``stopped`` is what ended the run that made
    them; "" where nothing ran (a random partition) or it is not known (one that was loaded)."""

    table: pd.DataFrame
    centres: np.ndarray
    method: str
    stopped: str = ""

    @property
    def k(self) -> int:
        """Number of clusters."""
        return len(self.centres)

    @property
    def labels(self) -> np.ndarray:
        """(n,) cluster of every track."""
        return self.table["cluster"].to_numpy()

    @property
    def sizes(self) -> np.ndarray:
        """(k,) tracks in every cluster."""
        return np.bincount(self.labels, minlength=self.k)

    @property
    def digest(self) -> str:
        """Digest of which track belongs where; models keep that of the split they learned from."""
        return text_digest(self.table[COLUMNS[:3]].to_csv(index=False, lineterminator="\n"))

    def members(self, cluster: int, membership: str) -> list[str]:
        """Tracks that train a cluster's branch: by membership ``"nearest"`` the cluster's own; by
        ``"nearest+second"`` also those for which it is the second choice; by ``"all"`` every track,
        a control without specialisation. No such cluster or membership is a ``StudyError``."""
        if not 0 <= cluster < self.k:
            raise StudyError(f"cluster_id = {cluster}: there are clusters 0 to {self.k - 1}")
        if membership not in MEMBERSHIPS:
            known = ", ".join(MEMBERSHIPS)
            raise StudyError(f"membership = {membership!r}: must be one of {known}")
        if membership == "all":
            return self.table["track"].tolist()
        chosen = self.table["cluster"] == cluster
        if membership == "nearest+second":
            chosen |= self.table["second"] == cluster
        return self.table.loc[chosen, "track"].tolist()


def check_split(models: Iterable[Path], split: Partition) -> None:
    """A StudyError where a branch or ensemble (a model file) learned from another split."""
    for model in models:
        _, about = checkpoints.load(model)
        if about.get("training", {}).get("split") != split.digest:
            said = f"{model} learned from another split of the tracks than that of notebook 04"
            raise StudyError(f"{said}: run notebook 05 for every cluster, then 06")


def save_partition(result: Partition, folder: str | Path) -> None:
    """Write ``membership.csv`` and ``centres.npz`` into ``folder``."""
    arrays = {"centres": result.centres, "method": result.method}
    write_atomically(Path(folder, TABLE), result.table.to_csv(index=False, lineterminator="\n"))
    write_atomically(Path(folder, CENTRES), lambda file: np.savez(file, **arrays))


def load_partition(folder: str | Path) -> Partition:
    """Read what :func:`save_partition` wrote; nothing there, or damaged, is a ``StudyError``."""
    folder = Path(folder)
    for file in (folder / TABLE, folder / CENTRES):
        if not file.is_file():
            raise StudyError(f"{file} is missing: run notebook 04 first")
    with refused(f"{folder}: damaged partition"):
        table = pd.read_csv(io.BytesIO((folder / TABLE).read_bytes()), dtype={"track": str})
        with np.load(folder / CENTRES, allow_pickle=False) as arrays:
            result = Partition(table[COLUMNS], arrays["centres"], str(arrays["method"]))
    if len(table) and not table["cluster"].between(0, result.k - 1).all():
        raise StudyError(f"{folder / TABLE} names clusters that {CENTRES} does not have")
    return result
