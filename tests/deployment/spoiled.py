"""Model packages that are well registered and badly behaved, in one way each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from include.modeling.model import (
    FEATURES_FILE,
    GOLDEN_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    manifest_digest,
    read_golden,
    read_manifest,
)
from include.modeling.model import load_model as load
from include.modeling.schema import coerce_row
from include.modeling.stored_form import dump_pipeline, load_pipeline
from tests.factories import FEATURES

AT_START = '    """One row in, one mapping of features out."""\n'
# Loading and warming up asks for the golden rows: what is wrong from the start never answers anybody. This goes wrong
# later, at a sign.
WHEN = "    import os\n\n    if os.path.exists({sign!r}):\n"
FAULTS: dict[str, str] = {
    "error": "        raise RuntimeError('no such depot')\n",
    "slow": "        import time\n\n        time.sleep(1.2)\n",
    "schema": "        row['colour']\n",
}
KINDS = (*FAULTS, "nan", "distribution")


def spoil(package: Path, folder: Path, *, kind: str) -> str:
    """Copy a trained package of the linear family and spoil it; the id of its training."""
    training_id = f"spoiled-{kind}"
    shutil.copytree(package, folder)
    manifest = read_manifest(folder)
    if kind in FAULTS:
        (folder / FEATURES_FILE).write_text(
            FEATURES.replace(AT_START, AT_START + WHEN.format(sign=str(sign_of(folder))) + FAULTS[kind])
        )
    else:
        _change_pipeline(folder, _to_nan if kind == "nan" else _to_certainty)
    _write_manifest(folder, replace(manifest, training_id=training_id))
    if kind == "distribution":
        # Good offline, and everything it says is "late": nothing but the champion's own answers shows what is wrong.
        model = load(folder, expected_digest=manifest_digest(read_manifest(folder)))
        golden = read_golden(folder)
        predictions = model.predict([coerce_row(manifest.input_columns, row) for row in golden.rows]).tolist()
        (folder / GOLDEN_FILE).write_text(json.dumps({"rows": golden.rows, "predictions": predictions}))
        _write_manifest(folder, replace(manifest, training_id=training_id))
    return training_id


def sign_of(folder: Path) -> Path:
    """The file whose being there makes a spoiled package go wrong."""
    return folder.with_suffix(".sign")


def _change_pipeline(folder: Path, change: Callable[[Any], None]) -> None:
    pipeline = load_pipeline((folder / MODEL_FILE).read_bytes())
    last = pipeline
    while hasattr(last, "steps"):
        last = last.steps[-1][1]
    change(last)
    (folder / MODEL_FILE).write_bytes(dump_pipeline(pipeline))


def _to_nan(model: Any) -> None:
    model.coef_[:] = float("nan")


def _to_certainty(model: Any) -> None:
    model.intercept_[:] += 50.0


def _write_manifest(folder: Path, manifest: Any) -> None:
    files = {name: sha256((folder / name).read_bytes()).hexdigest() for name in manifest.files}
    (folder / MANIFEST_FILE).write_text(json.dumps(asdict(replace(manifest, files=files)), indent=1, sort_keys=True))
