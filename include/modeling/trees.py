"""
Ensembles of trees as nested tuples, walked in plain Python: `(feature, threshold, left, right, missing_left)`, or a
leaf's value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Tree = Any  # float | tuple[int, float, Tree, Tree, bool]: mypy would have to recurse
VectorScore = Callable[[list[float]], float]


def boosting_score(estimator: Any) -> VectorScore:
    """
    Raw score (log odds of the second of two classes, or the number itself) of a fitted histogram boosting.

    Raises
    ------
    ValueError
        If a tree splits on categories: the families encode them as numbers.

    """
    trees = [_boosting_tree(predictors[0].nodes) for predictors in estimator._predictors]
    baseline = float(estimator._baseline_prediction.item())

    def score(vector: list[float]) -> float:
        has_missing = any(value != value for value in vector)
        total = baseline
        for tree in trees:
            total += _walk_with_missing(tree, vector) if has_missing else _walk(tree, vector)
        return total

    return score


def forest_score(estimator: Any) -> VectorScore:
    """
    Mean over the leaves of a fitted forest: share of positives, or number; the vector holds float32 values, none
    missing.
    """
    trees = [_forest_tree(member.tree_) for member in estimator.estimators_]

    def score(vector: list[float]) -> float:
        total = 0.0
        for tree in trees:
            total += _walk(tree, vector)
        return total / len(trees)

    return score


def lightgbm_score(model_text: str) -> VectorScore:
    """
    Raw score of a LightGBM model of two classes or of numbers, from its text form.

    Raises
    ------
    ValueError
        If the text holds linear trees, or treats zeros as missing.
    KeyError
        If it is no such text.

    """
    trees = [
        _lightgbm_tree(dict(line.split("=", 1) for line in block.splitlines() if "=" in line))
        for block in _blocks(model_text)
    ]

    def score(vector: list[float]) -> float:
        total = 0.0
        for tree in trees:
            while type(tree) is tuple:
                feature, threshold, left, right, missing_left, codes = tree
                value = vector[feature]
                if codes is None:
                    tree = left if value <= threshold or (missing_left and value != value) else right
                else:
                    tree = left if value in codes else right
            total += tree
        return total

    return score


def _blocks(model_text: str) -> list[str]:
    return model_text.split("end of trees")[0].split("\nTree=")[1:]


# bits of LightGBM's decision_type; the last two above them
_CATEGORICAL, _DEFAULT_LEFT, _ZERO_IS_MISSING, _NAN_IS_MISSING = 1, 2, 1, 2


def _lightgbm_tree(fields: dict[str, str]) -> Any:
    leaves = [float(value) for value in fields["leaf_value"].split()]
    if fields.get("is_linear", "0") != "0":
        raise ValueError("a linear tree")
    if len(leaves) == 1:
        return leaves[0]
    names = ("split_feature", "decision_type", "left_child", "right_child")
    features, kinds, lefts, rights = ([int(value) for value in fields[name].split()] for name in names)
    thresholds = [float(value) for value in fields["threshold"].split()]
    built: list[Any] = [None] * len(features)
    for node in range(len(features) - 1, -1, -1):
        left, right = (leaves[~child] if child < 0 else built[child] for child in (lefts[node], rights[node]))
        if left is None or right is None:
            raise ValueError("a child before its parent")
        kind, threshold = kinds[node], thresholds[node]
        if kind >> 2 == _ZERO_IS_MISSING:
            raise ValueError("zeros count as missing")
        # Where nothing was missing in training, a missing number counts as 0.
        missing_left = bool(kind & _DEFAULT_LEFT) if kind >> 2 == _NAN_IS_MISSING else threshold >= 0.0
        codes = _codes(fields, int(threshold)) if kind & _CATEGORICAL else None
        built[node] = (features[node], threshold, left, right, missing_left, codes)
    return built[0]


def _codes(fields: dict[str, str], index: int) -> frozenset[int]:
    """The categories that go left, from words of 32 bits."""
    bounds, words = ([int(value) for value in fields[name].split()] for name in ("cat_boundaries", "cat_threshold"))
    own = words[bounds[index] : bounds[index + 1]]
    return frozenset(32 * i + bit for i, word in enumerate(own) for bit in range(32) if word >> bit & 1)


def _walk(tree: Tree, vector: list[float]) -> float:
    while type(tree) is tuple:
        feature, threshold, left, right, _ = tree
        tree = left if vector[feature] <= threshold else right
    return tree  # type: ignore[no-any-return]


def _walk_with_missing(tree: Tree, vector: list[float]) -> float:
    while type(tree) is tuple:
        feature, threshold, left, right, missing_left = tree
        value = vector[feature]
        tree = left if value <= threshold or (missing_left and value != value) else right
    return tree  # type: ignore[no-any-return]


def _boosting_tree(nodes: Any) -> Tree:
    if nodes["is_categorical"].any():
        raise ValueError("a split on categories")
    columns = [nodes[name].tolist() for name in ("feature_idx", "num_threshold", "left", "right", "missing_go_to_left")]
    built: list[Tree] = [float(value) for value in nodes["value"]]
    is_leaf = nodes["is_leaf"].tolist()
    return _nest(built, columns, is_leaf)


def _forest_tree(tree: Any) -> Tree:
    is_leaf = (tree.children_left < 0).tolist()
    never_missing = [False] * tree.node_count
    arrays = (tree.feature, tree.threshold, tree.children_left, tree.children_right)
    return _nest(tree.value[:, 0, -1].tolist(), [array.tolist() for array in arrays] + [never_missing], is_leaf)


def _nest(built: list[Tree], columns: list[list[Any]], is_leaf: list[bool]) -> Tree:
    # In both kinds of ensemble a child comes after its parent: backwards, children are built when their parent is.
    for node in range(len(built) - 1, -1, -1):
        if not is_leaf[node]:
            feature, threshold, left, right, missing_left = (column[node] for column in columns)
            if left <= node or right <= node:
                raise ValueError("a child before its parent")
            built[node] = (feature, threshold, built[left], built[right], bool(missing_left))
    return built[0]
