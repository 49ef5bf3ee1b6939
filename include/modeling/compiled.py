"""
A fitted pipeline as plain Python, for requests of a few rows.

scikit-learn needs a DataFrame and milliseconds to score one row; look-ups in dicts and walks along tuples need
microseconds. Past some 16 rows the pipeline itself is quicker. Only what the families of `selection` are made of is
compiled, and what was compiled is compared with the pipeline before it is handed out: anything else gives None.
"""

from __future__ import annotations

import logging
import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from include.modeling.features import FeatureRow
from include.modeling.frame import MISSING, FeatureColumn, feature_frame, wrong_kind
from include.modeling.model import Model
from include.modeling.trees import boosting_score, forest_score, lightgbm_score
from include.selection.boosting import LightGBM
from include.selection.ensemble import WeightedEnsemble
from include.selection.families import predict_with
from include.selection.log_target import LogTarget
from include.selection.preparation import Clip

Scorer = Callable[[Sequence[Mapping[str, Any]]], list[float]]
RowScore = Callable[[FeatureRow], float]

TOLERANCE = 1e-12
_N_PROBES = 128
_FORESTS = (ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor)
_LOG_ODDS = (LogisticRegression, LightGBM, HistGradientBoostingClassifier)
_LOG = logging.getLogger(__name__)


def compile_scorer(model: Model) -> Scorer | None:
    """
    Compile a model for small requests.

    Returns
    -------
    callable or None
        From rows (as `coerce_row` gives them) to probabilities of the positive class, or numbers, equal to
        `Model.predict` to 1e-12. It raises the same errors. None if the model is made of anything that is not known
        exactly: text, neighbours, several classes.

    """
    try:
        score_row = _compile(model.pipeline, n_classes=model.manifest.n_classes)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        _LOG.info(
            "model of family %r is not compiled (%s): every request takes the pipeline",
            model.manifest.family,
            type(error).__name__,
        )
        return None
    columns = model.manifest.feature_columns
    if not _is_equal(score_row, model, columns):
        _LOG.warning(
            "model of family %r gives other scores when compiled: every request takes the pipeline",
            model.manifest.family,
        )
        return None
    build, kinds = (
        model.builder.build,
        tuple((column.name, float if column.kind == "number" else str, column) for column in columns),
    )

    def score_rows(rows: Sequence[Mapping[str, Any]]) -> list[float]:
        scores = []
        for features in build(rows):
            for name, kind, column in kinds:
                value = features.get(name)
                if value is not None and type(value) is not kind:
                    raise wrong_kind(column, type(value))
            scores.append(score_row(features))
        return scores

    return score_rows


def sigmoid(value: float) -> float:
    """Logistic function, without overflow at either end."""
    if value >= 0:
        return 1.0 / (1.0 + math.exp(-value))
    power = math.exp(value)
    return power / (1.0 + power)


def _compile(pipeline: Any, *, n_classes: int) -> RowScore:
    if type(pipeline) is WeightedEnsemble:
        return _ensemble(pipeline, n_classes=n_classes)
    prepare, estimator = pipeline.named_steps["prepare"], pipeline.named_steps["model"]
    blocks = {
        name: (step, list(names)) for name, step, names in prepare.transformers_ if name != "remainder" and len(names)
    }
    numbers, codes, categories = (blocks.pop(name, (None, [])) for name in ("numbers", "codes", "categories"))
    if blocks or n_classes > 2 or (n_classes and list(estimator.classes_) != [0, 1]):
        raise ValueError("an unknown part")
    if type(estimator) is LogTarget:
        inner = _score_of(estimator.estimator, numbers, codes, categories)
        factor = estimator.factor_
        return lambda features: math.expm1(min(max(inner(features), -1.0), 50.0)) * factor
    raw = _score_of(estimator, numbers, codes, categories)
    if n_classes and type(estimator) in _LOG_ODDS:
        return lambda features: sigmoid(raw(features))
    return raw


def _ensemble(ensemble: WeightedEnsemble, *, n_classes: int) -> RowScore:
    members = [
        (weight, _compile(member, n_classes=n_classes))
        for weight, member in zip(ensemble.weights, ensemble.members, strict=True)
    ]

    reach = math.inf if n_classes or ensemble.reach is None else ensemble.reach

    def score(features: FeatureRow) -> float:
        (first_weight, first), *others = members
        best = first(features)
        low, high = best - reach, best + reach
        return first_weight * best + sum(weight * min(max(other(features), low), high) for weight, other in others)

    return score


Block = tuple[Any, list[str]]


def _score_of(estimator: Any, numbers: Block, codes: Block, categories: Block) -> RowScore:
    """Log odds of estimators in `_LOG_ODDS`, else what the estimator predicts."""
    if type(estimator) in (LogisticRegression, Ridge):
        if codes[0] is not None:
            raise ValueError("codes in a sum")
        return _linear(estimator, numbers, categories)
    vector_of = _tree_vector(_fills(*numbers), _code_tables(*codes) + _encodings(*categories))
    if type(estimator) is LightGBM:
        boosted = lightgbm_score(estimator.model_text_)
        return lambda features: boosted(vector_of(features))
    if type(estimator) in (HistGradientBoostingClassifier, HistGradientBoostingRegressor):
        raw = boosting_score(estimator)
        return lambda features: raw(vector_of(features))
    if type(estimator) in _FORESTS:
        mean = forest_score(estimator)
        # scikit-learn's trees see float32.
        return lambda features: mean(array("f", vector_of(features)).tolist())
    raise ValueError("an unknown estimator")


def _linear(estimator: Any, numbers: Block, categories: Block) -> RowScore:
    coefficients = np.ravel(estimator.coef_).tolist()
    n_left = len(coefficients)
    total_base = float(np.ravel(estimator.intercept_)[0])
    terms: list[tuple[str, float, float, float, float, float, float]] = []
    if numbers[0] is not None:
        n_numbers = numbers[0].named_steps["scale"].mean_.shape[0]
        found, base = _number_terms(numbers[0], coefficients[:n_numbers])
        terms = [(name, *term) for name, term in zip(numbers[1], found, strict=True)]
        total_base += base
        n_left -= n_numbers
    look_ups = _one_hot_terms(*categories, coefficients[len(coefficients) - n_left :])

    def score(features: FeatureRow) -> float:
        total = total_base
        get = features.get
        for name, low, high, mean, scale, coefficient, if_missing in terms:
            number: Any = get(name)
            if number is None:
                total += if_missing
            else:
                total += ((low if number < low else high if number > high else number) - mean) / scale * coefficient
        for name, known, if_unknown in look_ups:
            value = get(name)
            total += known.get(MISSING if value is None else value, if_unknown)  # type: ignore[arg-type]  # categories are str
        return total

    return score


def _number_terms(
    pipeline: Any, coefficients: list[float]
) -> tuple[list[tuple[float, float, float, float, float, float]], float]:
    """
    Per number: bounds, mean, scale, coefficient, and what a missing one adds; and the sum of the indicators of present
    values.
    """
    imputer, clip, scaler = (pipeline.named_steps[name] for name in ("impute", "clip", "scale"))
    if len(pipeline.steps) != 3 or type(clip) is not Clip or type(scaler) is not StandardScaler:
        raise ValueError("an unknown preparation")
    columns = list(
        zip(
            clip.low_.tolist(),
            clip.high_.tolist(),
            scaler.mean_.tolist(),
            scaler.scale_.tolist(),
            coefficients,
            strict=True,
        )
    )

    def adds(j: int, value: float) -> float:
        low, high, mean, scale, coefficient = columns[j]
        return float((min(max(value, low), high) - mean) / scale * coefficient)

    fills, terms, base = imputer.statistics_.tolist(), [], 0.0
    indicator_of = {int(feature): len(fills) + i for i, feature in enumerate(imputer.indicator_.features_)}
    for j, fill in enumerate(fills):
        if_missing, k = adds(j, fill), indicator_of.get(j)
        if k is not None:
            if_missing += adds(k, 1.0) - adds(k, 0.0)
            base += adds(k, 0.0)
        terms.append((*columns[j], if_missing))
    return terms, base


def _one_hot_terms(
    encoder: Any, names: list[str], coefficients: list[float]
) -> list[tuple[str, dict[str, float], float]]:
    if encoder is None:
        return []
    if type(encoder) is not OneHotEncoder or encoder.drop is not None:
        raise ValueError("an unknown encoder")
    terms, start = [], 0
    for name, known, rare in zip(names, encoder.categories_, encoder.infrequent_categories_, strict=True):
        rare_set = set() if rare is None else set(rare.tolist())
        frequent = [category for category in known.tolist() if category not in rare_set]
        by_category = {category: coefficients[start + i] for i, category in enumerate(frequent)}
        start += len(frequent)
        # All rare categories, and the unknown ones, share the last column.
        if_unknown = coefficients[start] if rare_set else 0.0
        start += bool(rare_set)
        terms.append((name, {**by_category, **dict.fromkeys(rare_set, if_unknown)}, if_unknown))
    if start != len(coefficients):
        raise ValueError("columns are left over")
    return terms


def _fills(step: Any, names: list[str]) -> tuple[list[tuple[str, float]], list[str]]:
    """Per number what stands for a missing one, and the numbers whose being missing is a column of its own."""
    if step is None:
        return [], []
    if hasattr(step, "statistics_"):
        return list(zip(names, step.statistics_.tolist(), strict=True)), [
            names[int(j)] for j in step.indicator_.features_
        ]
    if getattr(step, "func", step) not in (None, "passthrough"):
        raise ValueError("an unknown preparation")
    return [(name, math.nan) for name in names], []


def _code_tables(encoder: Any, names: list[str]) -> list[tuple[str, dict[str, float], float]]:
    if encoder is None:
        return []
    if type(encoder) is not OrdinalEncoder or not math.isnan(encoder.unknown_value):
        raise ValueError("an unknown encoder")
    return [
        (name, {category: float(code) for code, category in enumerate(known.tolist())}, math.nan)
        for name, known in zip(names, encoder.categories_, strict=True)
    ]


def _encodings(encoder: Any, names: list[str]) -> list[tuple[str, dict[str, float], float]]:
    if encoder is None:
        return []
    if type(encoder) is not TargetEncoder:
        raise ValueError("an unknown encoder")
    return [
        (name, dict(zip(known.tolist(), encoding.tolist(), strict=True)), float(encoder.target_mean_))
        for name, known, encoding in zip(names, encoder.categories_, encoder.encodings_, strict=True)
    ]


def _tree_vector(
    fills: tuple[list[tuple[str, float]], list[str]], encodings: list[tuple[str, dict[str, float], float]]
) -> Callable[[FeatureRow], list[float]]:
    numbers, indicated = fills

    def vector(features: FeatureRow) -> list[float]:
        get = features.get
        values: list[Any] = [fill if (value := get(name)) is None else value for name, fill in numbers]
        for name in indicated:
            values.append(1.0 if get(name) is None else 0.0)
        for name, known, if_unknown in encodings:
            value = get(name)
            values.append(known.get(MISSING if value is None else value, if_unknown))  # type: ignore[arg-type]  # categories are str
        return values

    return vector


def _is_equal(score_row: RowScore, model: Model, columns: Sequence[FeatureColumn]) -> bool:
    rows = _probes(model.pipeline, columns)
    expected = predict_with(model.pipeline, feature_frame(rows, columns), n_classes=model.manifest.n_classes)
    found = np.array([score_row(row) for row in rows])
    return bool(np.all(np.abs(found - expected) <= TOLERANCE * np.maximum(1.0, np.abs(expected))))


def _probes(pipeline: Any, columns: Sequence[FeatureColumn]) -> list[FeatureRow]:
    """Rows of many magnitudes, with missing values, known and unknown categories."""
    rng = np.random.default_rng(0)
    one = pipeline.members[0] if type(pipeline) is WeightedEnsemble else pipeline
    known: dict[str, Any] = {}
    for name, step, names in one.named_steps["prepare"].transformers_:
        if name in ("codes", "categories"):
            known |= dict(zip(names, step.categories_, strict=True))
    rows: list[FeatureRow] = []
    for _ in range(_N_PROBES):
        row: FeatureRow = {}
        for column in columns:
            if rng.random() < 0.1:
                row[column.name] = None
            elif column.kind == "number":
                row[column.name] = float(rng.normal() * 10 ** rng.uniform(-2, 4))
            else:
                row[column.name] = str(rng.choice(known[column.name])) if rng.random() < 0.8 else "never seen\0"
        rows.append(row)
    return rows
