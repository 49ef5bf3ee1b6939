"""
From one photograph to its features: the same function in training and at the endpoint.

A row names its image; only what lies below the workflow's own folder of images is opened.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from include.settings import read_settings
from include.sources.images.pixels import read_grey

_SIDE, _CELLS = 28, 7


def build(row: Mapping[str, Any]) -> dict[str, Any]:
    """One row's image in; brightness by cell, how rough each cell is, and the outline out."""
    root = f"{read_settings().home}/fashion-items"
    grey = read_grey(row.get("image_uri"), root=root, side=_SIDE, sha256=row.get("sha256"))
    cells = grey.reshape(_CELLS, _SIDE // _CELLS, _CELLS, _SIDE // _CELLS)
    brightness, roughness = cells.mean(axis=(1, 3)), cells.std(axis=(1, 3))
    widths = (grey > 0.1).sum(axis=1)
    return {
        **{f"bright_{i}_{j}": float(brightness[i, j]) for i, j in np.ndindex(_CELLS, _CELLS)},
        **{f"rough_{i}_{j}": float(roughness[i, j]) for i, j in np.ndindex(_CELLS, _CELLS)},
        **{f"width_{i}": float(widths[i]) for i in range(0, _SIDE, 4)},
        # Both halves alike: a shirt hangs straight.
        "asymmetry": float(np.abs(grey - grey[:, ::-1]).mean()),
        "filled": float((grey > 0.1).mean()),
    }
