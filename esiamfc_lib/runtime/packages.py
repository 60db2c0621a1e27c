"""Versions of the packages that a result may depend on."""

from contextlib import suppress
from importlib import metadata

PACKAGES = (
    *("esiamfc", "torch", "numpy", "scipy", "scikit-learn", "umap-learn", "pandas"),
    *("opencv-python-headless", "lmdb", "got10k", "lightning-fabric", "papermill"),
)


def versions() -> dict[str, str]:
    """Installed versions of the packages that results can depend on."""
    found = {}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
