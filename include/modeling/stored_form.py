"""
A fitted pipeline as bytes that run no code when they are read: skops, held to a closed list of types.

skops names entries after memory addresses and stamps them with the clock; here the archive is written anew with names
that follow from the content, so that the same pipeline always gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np

from include.errors import TamperedModelError, TrainingError

# Beyond what skops trusts by itself, these are the parts of the families' fitted estimators.
TRUSTED_TYPES = (
    "include.selection.boosting.LightGBM",
    "include.selection.ensemble.WeightedEnsemble",
    "include.selection.log_target.LogTarget",
    "include.selection.preparation.Clip",
    "include.selection.svm.CalibratedSVM",
    "include.selection.text.TextScore",
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.tree._tree.Tree",
)
# Every kind of node that a stored pipeline of ours is made of: anything else in a file, even what skops would trust, is
# refused.
ALLOWED_NODES = frozenset(
    {
        ("DTypeNode", "numpy.dtype"),
        ("DictNode", "builtins.dict"),
        ("JsonNode", "builtins.str"),
        ("ListNode", "builtins.list"),
        ("LossNode", "sklearn._loss._loss.CyAbsoluteError"),
        ("LossNode", "sklearn._loss._loss.CyHalfBinomialLoss"),
        ("LossNode", "sklearn._loss._loss.CyHalfMultinomialLoss"),
        ("LossNode", "sklearn._loss._loss.CyHalfSquaredError"),
        ("LossNode", "sklearn._loss._loss.CyPinballLoss"),
        ("NdArrayNode", "numpy.float32"),
        ("NdArrayNode", "numpy.float64"),
        ("NdArrayNode", "numpy.int32"),
        ("NdArrayNode", "numpy.int64"),
        ("NdArrayNode", "numpy.ndarray"),
        ("NdArrayNode", "numpy.uint64"),
        ("ObjectNode", "include.selection.boosting.LightGBM"),
        ("ObjectNode", "include.selection.ensemble.WeightedEnsemble"),
        ("ObjectNode", "include.selection.log_target.LogTarget"),
        ("ObjectNode", "include.selection.preparation.Clip"),
        ("ObjectNode", "include.selection.svm.CalibratedSVM"),
        ("ObjectNode", "include.selection.text.TextScore"),
        ("ObjectNode", "sklearn._loss.link.IdentityLink"),
        ("ObjectNode", "sklearn._loss.link.Interval"),
        ("ObjectNode", "sklearn._loss.link.LogitLink"),
        ("ObjectNode", "sklearn._loss.link.MultinomialLogit"),
        ("ObjectNode", "sklearn._loss.loss.AbsoluteError"),
        ("ObjectNode", "sklearn._loss.loss.HalfBinomialLoss"),
        ("ObjectNode", "sklearn._loss.loss.HalfMultinomialLoss"),
        ("ObjectNode", "sklearn._loss.loss.HalfSquaredError"),
        ("ObjectNode", "sklearn._loss.loss.PinballLoss"),
        ("ObjectNode", "sklearn.compose._column_transformer.ColumnTransformer"),
        ("ObjectNode", "sklearn.decomposition._truncated_svd.TruncatedSVD"),
        ("ObjectNode", "sklearn.ensemble._forest.ExtraTreesClassifier"),
        ("ObjectNode", "sklearn.ensemble._forest.ExtraTreesRegressor"),
        ("ObjectNode", "sklearn.ensemble._forest.RandomForestClassifier"),
        ("ObjectNode", "sklearn.ensemble._forest.RandomForestRegressor"),
        ("ObjectNode", "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper"),
        ("ObjectNode", "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier"),
        ("ObjectNode", "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingRegressor"),
        ("ObjectNode", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"),
        ("ObjectNode", "sklearn.feature_extraction.text.TfidfTransformer"),
        ("ObjectNode", "sklearn.feature_extraction.text.TfidfVectorizer"),
        ("ObjectNode", "sklearn.impute._base.MissingIndicator"),
        ("ObjectNode", "sklearn.impute._base.SimpleImputer"),
        ("ObjectNode", "sklearn.linear_model._logistic.LogisticRegression"),
        ("ObjectNode", "sklearn.linear_model._ridge.Ridge"),
        ("ObjectNode", "sklearn.model_selection._split.KFold"),
        ("ObjectNode", "sklearn.model_selection._split.StratifiedKFold"),
        ("ObjectNode", "sklearn.neighbors._classification.KNeighborsClassifier"),
        ("ObjectNode", "sklearn.neighbors._regression.KNeighborsRegressor"),
        ("ObjectNode", "sklearn.pipeline.FeatureUnion"),
        ("ObjectNode", "sklearn.pipeline.Pipeline"),
        ("ObjectNode", "sklearn.preprocessing._data.StandardScaler"),
        ("ObjectNode", "sklearn.preprocessing._encoders.OneHotEncoder"),
        ("ObjectNode", "sklearn.preprocessing._encoders.OrdinalEncoder"),
        # What "passthrough" becomes; a function that it might hold would be a FunctionNode, which is not in this list.
        ("ObjectNode", "sklearn.preprocessing._function_transformer.FunctionTransformer"),
        ("ObjectNode", "sklearn.preprocessing._label.LabelEncoder"),
        ("ObjectNode", "sklearn.preprocessing._target_encoder.TargetEncoder"),
        ("ObjectNode", "sklearn.svm._classes.SVC"),
        ("ObjectNode", "sklearn.svm._classes.SVR"),
        ("ObjectNode", "sklearn.tree._classes.DecisionTreeClassifier"),
        ("ObjectNode", "sklearn.tree._classes.DecisionTreeRegressor"),
        ("ObjectNode", "sklearn.tree._classes.ExtraTreeClassifier"),
        ("ObjectNode", "sklearn.tree._classes.ExtraTreeRegressor"),
        ("RandomGeneratorNode", "numpy.random._generator.Generator"),
        ("SliceNode", "builtins.slice"),
        ("TreeNode", "sklearn.tree._tree.Tree"),
        ("TupleNode", "builtins.tuple"),
        ("TypeNode", "builtins.str"),
        ("TypeNode", "numpy.float64"),
    }
)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a ZIP file can tell
_SCHEMA = "schema.json"


def dump_pipeline(pipeline: Any) -> bytes:
    """
    Bytes of a fitted pipeline: the same for the same pipeline, whenever and wherever it is dumped.

    Raises
    ------
    TrainingError
        If the pipeline is made of a type that `load_pipeline` would refuse.

    """
    with _quiet_skops() as skops_io:
        data = _canonical(skops_io.dumps(pipeline))
    unknown = _unknown_nodes(data)
    if unknown:
        raise TrainingError(
            f"the pipeline holds {', '.join(unknown)}, which no stored model may: choose another family"
        )
    return data


def load_pipeline(data: bytes) -> Any:
    """
    Pipeline from bytes that `dump_pipeline` gave. Verify the bytes' digest first.

    Raises
    ------
    TamperedModelError
        If the bytes are no such file, or hold any type that our families do not have; nothing of it was loaded.

    """
    try:
        unknown = _unknown_nodes(data)
    except (zipfile.BadZipFile, KeyError, ValueError, AttributeError, RecursionError):
        raise TamperedModelError("model.skops is no skops file: train again, or restore the file") from None
    if unknown:
        raise TamperedModelError(
            f"model.skops holds {', '.join(unknown[:3])}, which no model of ours does: nothing was loaded"
        )
    try:
        with _quiet_skops() as skops_io:
            return skops_io.loads(data, trusted=list(TRUSTED_TYPES))
    except Exception as error:  # whatever a malformed file may raise
        raise TamperedModelError(
            f"model.skops can't be loaded ({type(error).__name__}): restore the file, or load it with the libraries of "
            "its manifest"
        ) from error


@contextmanager
def _quiet_skops() -> Iterator[ModuleType]:
    # At import skops looks at every attribute of every loaded module; where Airflow is loaded, each of its deprecated
    # names warns. So it is imported here, late, and its warnings never reach the log.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import skops.io

        yield skops.io


def _unknown_nodes(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        schema = json.loads(archive.read(_SCHEMA))
    kinds = {(node["__loader__"], f"{node['__module__']}.{node['__class__']}") for node in _nodes(schema)}
    return sorted(f"{name} ({loader})" for loader, name in kinds - ALLOWED_NODES)


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    stack = [value]
    while stack:
        found = stack.pop()
        if isinstance(found, dict):
            if "__loader__" in found:
                yield found
            stack.extend(reversed(found.values()))
        elif isinstance(found, list):
            stack.extend(reversed(found))


def _canonical(data: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(entries.pop(_SCHEMA))
    entries = {name: _without_padding(content) for name, content in entries.items()}
    names = {name: f"{hashlib.sha256(content).hexdigest()[:32]}.npy" for name, content in entries.items()}
    for number, node in enumerate(_nodes(schema)):
        node["__id__"] = number
        if node.get("file") in names:
            node["file"] = names[node["file"]]
    renamed = {names[name]: content for name, content in entries.items()}
    renamed[_SCHEMA] = json.dumps(schema, separators=(",", ":")).encode()
    buffer = io.BytesIO()
    # Stored, not compressed: compressed bytes differ between versions of zlib.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(renamed):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), renamed[name])
    return buffer.getvalue()


def _without_padding(content: bytes) -> bytes:
    # Between the fields of a tree's nodes lie bytes that nobody sets: whatever was in memory there.
    values = np.load(io.BytesIO(content), allow_pickle=False)
    if values.dtype.names is None:
        return content
    clean = np.zeros(values.shape, dtype=values.dtype)
    for name in values.dtype.names:
        clean[name] = values[name]
    buffer = io.BytesIO()
    np.save(buffer, clean, allow_pickle=False)
    return buffer.getvalue()
