"""
A model package: a folder that holds all that a prediction needs, verified to the byte before anything of it is loaded.

| file | what |
|---|---|
| `manifest.json` | what the model was made of, and the SHA-256 of each file below |
| `model.skops` | the fitted pipeline |
| `features.py` | the module of the feature function, as it was in training (absent without one) |
| `golden.json` | rows of the test part as JSON inputs, with the offline predictions |

`evaluation.json`, `decision.json`, `training.json`, `profile.json`, `card.md`, `card.html` and `figures/` lie beside
them: they tell about the model and are no part of it. The model digest is the manifest's; who trained it in which run
is left out of it, so that the same data, seed and declaration give the same digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.errors import DeclarationError, TamperedModelError
from include.modeling.features import FeatureBuilder
from include.modeling.frame import FeatureColumn, FeatureKind, feature_frame
from include.modeling.profile import PROFILE_FILE
from include.modeling.schema import InputColumn
from include.modeling.stored_form import dump_pipeline, load_pipeline
from include.selection.families import predict_with

MANIFEST_FILE, MODEL_FILE, FEATURES_FILE, GOLDEN_FILE = "manifest.json", "model.skops", "features.py", "golden.json"
LATER_FILES = frozenset({"evaluation.json", "decision.json", "training.json", PROFILE_FILE, "card.md", "card.html"})
LATER_FOLDERS = frozenset({"figures"})
UNDIGESTED_FIELDS = frozenset({"training_id", "created_by_run"})
# Fields that manifests have gained, and what older models were made with: left out of a digest where they say just
# that.
_GAINED_FIELDS: Mapping[str, Any] = {"classes": (), "threshold": 0.5}


@dataclass(frozen=True, kw_only=True)
class ModelManifest:
    """
    What a model was made of.

    `trained_rows` has n_rows, row_ids_digest, train_start and train_end (half-open, ISO). `classes` are those of
    several, in the order of the predictions; from `threshold` on a probability counts as positive.
    """

    workflow: str
    training_id: str
    as_of: str
    snapshot: Mapping[str, Any]
    workflow_digest: str
    family: str
    params: Mapping[str, Any]
    random_state: int
    input_columns: tuple[InputColumn, ...]
    hidden_columns: tuple[str, ...]
    feature_names: tuple[str, ...]
    feature_kinds: tuple[FeatureKind, ...]
    builder: str | None
    target: str
    positive: bool | int | str
    task: str
    libraries: Mapping[str, str]
    trained_rows: Mapping[str, Any]
    classes: tuple[Any, ...] = ()
    threshold: float = 0.5
    files: Mapping[str, str] = field(default_factory=dict)
    created_by_run: str | None = None

    @property
    def n_classes(self) -> int:
        """0 where numbers are predicted."""
        return len(self.classes) if self.task == "multiclass" else 2 if self.task == "classification" else 0

    @property
    def feature_columns(self) -> tuple[FeatureColumn, ...]:
        """Names and kinds of the features, in the pipeline's order."""
        return tuple(FeatureColumn(name=n, kind=k) for n, k in zip(self.feature_names, self.feature_kinds, strict=True))


@dataclass(frozen=True, kw_only=True)
class Golden:
    """
    Rows as JSON inputs, and what the model said of them offline (as `Model.predict`; of several classes
    a list a row).
    """

    rows: tuple[Mapping[str, Any], ...]
    predictions: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Model:
    """A loaded model."""

    manifest: ModelManifest
    pipeline: Any
    builder: FeatureBuilder

    def predict(self, rows: pa.Table | Sequence[Mapping[str, Any]]) -> npt.NDArray[np.float64]:
        """
        Predict.

        Parameters
        ----------
        rows : pyarrow.Table or sequence of mappings
            A table of the source's columns, or rows from `coerce_row`. Other columns are ignored, absent ones are
            missing.

        Returns
        -------
        ndarray of shape (n_rows,), or (n_rows, n_classes) of several classes
            classification: probability of the positive class; multiclass: probabilities in the order of
            `manifest.classes`; regression and forecasting: values.

        Raises
        ------
        DataError
            If the feature function fails on a row.

        """
        features = self.builder.build_table(rows) if isinstance(rows, pa.Table) else self.builder.build(rows)
        n_classes = self.manifest.n_classes
        if not features:
            return np.empty((0, n_classes) if n_classes > 2 else 0)
        predicted: npt.NDArray[np.float64] = predict_with(
            self.pipeline, feature_frame(features, self.manifest.feature_columns), n_classes=n_classes
        )
        return predicted


def manifest_digest(manifest: ModelManifest) -> str:
    """
    Digest of the model: SHA-256 of the manifest, and with it of every file, without the ids of the training and the
    run.
    """
    content = {name: value for name, value in asdict(manifest).items() if name not in UNDIGESTED_FIELDS}
    content = {
        name: value for name, value in content.items() if name not in _GAINED_FIELDS or value != _GAINED_FIELDS[name]
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def save_model(
    folder: Path, *, manifest: ModelManifest, pipeline: Any, builder: FeatureBuilder, golden: Golden
) -> ModelManifest:
    """
    Write a model package; `manifest.json` comes last, so that a folder that has one is complete.

    Returns
    -------
    ModelManifest
        The manifest with the digests of the files.

    """
    contents = {
        MODEL_FILE: dump_pipeline(pipeline),
        GOLDEN_FILE: json.dumps(asdict(golden), indent=1, allow_nan=False).encode(),
    }
    if builder.source is not None:
        contents[FEATURES_FILE] = builder.source
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST_FILE).unlink(missing_ok=True)
    for name in (MODEL_FILE, GOLDEN_FILE, FEATURES_FILE):
        (folder / name).unlink(missing_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    complete = replace(manifest, files={name: hashlib.sha256(contents[name]).hexdigest() for name in sorted(contents)})
    (folder / MANIFEST_FILE).write_text(
        json.dumps(asdict(complete), indent=1, sort_keys=True, allow_nan=False), encoding="utf-8"
    )
    return complete


def load_model(folder: Path, *, expected_digest: str) -> Model:
    """
    Verify a model package and load it.

    Parameters
    ----------
    folder : Path
        The package.
    expected_digest : str
        What `manifest_digest` gave when the model was made, from a place that the package's keeper can't write.

    Raises
    ------
    TamperedModelError
        If the manifest, a file or the set of files differs from what was recorded; nothing of it was read or run.

    """
    manifest, contents = _verified(folder, expected_digest)
    builder = _builder_of(folder, manifest, contents)
    return Model(manifest=manifest, pipeline=load_pipeline(contents[MODEL_FILE]), builder=builder)


def load_builder(folder: Path, *, expected_digest: str) -> tuple[ModelManifest, FeatureBuilder]:
    """
    Verify a model package as `load_model` does, and load its feature function alone: for those who only
    look at rows.
    """
    manifest, contents = _verified(folder, expected_digest)
    return manifest, _builder_of(folder, manifest, contents)


def verify_model(folder: Path, *, expected_digest: str) -> ModelManifest:
    """
    Verify a model package to the byte, as `load_model` does, and load nothing of it: no line of its module runs.

    Raises
    ------
    TamperedModelError
        If anything differs from what was recorded.

    """
    return _verified(folder, expected_digest)[0]


def read_manifest(folder: Path) -> ModelManifest:
    """
    Read a package's manifest, unverified: for its digest and for display.

    Raises
    ------
    TamperedModelError
        If there is none, or it is no manifest.

    """
    try:
        values = {**_GAINED_FIELDS, **json.loads((folder / MANIFEST_FILE).read_bytes())}
        if set(values) != {item.name for item in fields(ModelManifest)}:
            raise ValueError
        values["input_columns"] = tuple(InputColumn(**column) for column in values["input_columns"])
        for name in ("hidden_columns", "feature_names", "feature_kinds", "classes"):
            values[name] = tuple(values[name])
        return ModelManifest(**values)
    except (OSError, ValueError, TypeError):
        raise TamperedModelError(
            f"{folder / MANIFEST_FILE} is missing or no manifest: restore the package or train again"
        ) from None


def read_golden(folder: Path) -> Golden:
    """Read a package's golden rows; load the model first, which verifies them."""
    values = json.loads((folder / GOLDEN_FILE).read_bytes())
    return Golden(rows=tuple(values["rows"]), predictions=tuple(values["predictions"]))


def _builder_of(folder: Path, manifest: ModelManifest, contents: Mapping[str, bytes]) -> FeatureBuilder:
    try:
        return FeatureBuilder(
            columns=manifest.input_columns,
            hidden=frozenset(manifest.hidden_columns),
            source=contents.get(FEATURES_FILE),
            function=manifest.builder,
        )
    except DeclarationError as error:
        raise DeclarationError(f"the model in {folder} is as it was recorded, but does not run here: {error}") from None


def _verified(folder: Path, expected_digest: str) -> tuple[ModelManifest, dict[str, bytes]]:
    manifest = read_manifest(folder)
    found = manifest_digest(manifest)
    if found != expected_digest:
        raise TamperedModelError(
            f"the manifest in {folder} has digest {found[:12]}…, but {expected_digest[:12]}… is recorded: register the "
            "model again"
        )
    _check_names(folder, manifest)
    # Each file is read once: what was verified is what is loaded.
    contents = {name: _read_verified(folder, name, digest) for name, digest in manifest.files.items()}
    return manifest, contents


def _check_names(folder: Path, manifest: ModelManifest) -> None:
    known = {MANIFEST_FILE, *manifest.files, *LATER_FILES}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        is_known = name.name in known if len(name.parts) == 1 else name.parts[0] in LATER_FOLDERS
        is_folder = path.is_dir() and name.parts[0] in LATER_FOLDERS
        if path.is_symlink() or not (is_folder or (is_known and path.is_file())):
            raise TamperedModelError(
                f"{folder} holds {str(name)!r}, which its manifest does not list: remove it or register again"
            )


def _read_verified(folder: Path, name: str, digest: str) -> bytes:
    try:
        content = (folder / name).read_bytes()
    except OSError:
        raise TamperedModelError(f"{folder} lacks {name}, which its manifest lists: restore the package") from None
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise TamperedModelError(
            f"{name} in {folder} has digest {found[:12]}…, but {digest[:12]}… is recorded: restore the package"
        )
    return content
