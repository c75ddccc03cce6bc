"""The folders in which images are looked for, the last of them the project's cache, which also keeps decoded pixels."""

import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..files import whole


def cache_folder() -> Path:
    """`data/cache/` of the project, or of the current folder when `helpers` is installed elsewhere."""
    project = Path(__file__).resolve().parents[2]
    return (project if (project / "pyproject.toml").exists() else Path.cwd()) / "data" / "cache"


def roots(data_root, download: bool = False) -> list[Path]:
    """The folders in which sets are looked for: data_root, $DATA_ROOT, the project's cache.

    FileNotFoundError where data_root is no folder, unless a download may make it.
    """
    named = (data_root, os.environ.get("DATA_ROOT"), cache_folder())
    places = [Path(os.path.expanduser(root)) for root in named if root]
    if data_root and not download and not places[0].is_dir():
        raise FileNotFoundError(f"The data_root {data_root} is not a folder; name the one with the image sets, "
                                "or leave data_root out.")  # fmt: skip
    return places


def read_cached(name: str) -> dict[str, np.ndarray] | None:
    """The arrays kept under a name, or None; zip's own checksums tell a damaged file."""
    try:
        with np.load(cache_folder() / f"{name}.npz", allow_pickle=False) as kept:
            return dict(kept)
    except Exception:  # missing or unreadable, whatever the reason: decode again
        return None


def write_cached(name: str, **arrays: np.ndarray) -> None:
    """Keep arrays under a name; a folder that cannot be written to only costs the time to decode again."""
    with suppress(OSError), whole(cache_folder() / f"{name}.npz") as file:
        np.savez(file, **arrays)
