"""How metrics are called where a person reads."""

from __future__ import annotations

TITLES = {
    "average_precision": "Average precision",
    "roc_auc": "ROC AUC",
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "log_loss": "Log loss",
    "brier": "Brier score",
    "macro_precision": "Macro precision",
    "macro_recall": "Macro recall",
    "macro_f1": "Macro F1",
    "macro_roc_auc": "Macro ROC AUC",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
    "pinball": "Pinball loss",
}
