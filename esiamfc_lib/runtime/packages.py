"""Versions of the packages that a result may depend on."""

from importlib import metadata

PACKAGES = (
    "esiamfc",
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "umap-learn",
    "pandas",
    "opencv-python-headless",
    "lmdb",
    "got10k",
    "lightning-fabric",
    "papermill",
)


def versions() -> dict[str, str]:
    """Installed versions of the packages that results can depend on."""
    return {name: version for name in PACKAGES if (version := _version(name))}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
