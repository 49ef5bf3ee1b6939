"""What can be predicted, and by which metrics each kind of prediction is judged."""

from __future__ import annotations

from typing import Literal, get_args

Task = Literal["classification", "multiclass", "regression", "forecasting"]
ClassificationMetric = Literal[
    "average_precision", "roc_auc", "accuracy", "precision", "recall", "f1", "log_loss", "brier"
]
MulticlassMetric = Literal[
    "log_loss", "brier", "accuracy", "macro_precision", "macro_recall", "macro_f1", "macro_roc_auc"
]
RegressionMetric = Literal["mae", "rmse", "r2", "pinball"]
Metric = Literal[ClassificationMetric, MulticlassMetric, RegressionMetric]

# The first of each is the one to choose by, unless another is declared.
METRICS_OF_TASK: dict[Task, tuple[str, ...]] = {
    "classification": get_args(ClassificationMetric),
    "multiclass": get_args(MulticlassMetric),
    "regression": ("rmse", "mae", "r2", "pinball"),
    "forecasting": get_args(RegressionMetric),
}
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "mae", "rmse", "pinball"})

Family = Literal["linear", "boosting", "hist_boosting", "forest", "extra_trees", "neighbors", "svm"]
FAMILIES: tuple[Family, ...] = get_args(Family)
Preference = Literal["quality", "explainable", "cheap", "fast", "small"]
