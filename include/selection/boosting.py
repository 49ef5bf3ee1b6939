"""LightGBM as a scikit-learn estimator whose fitted state is LightGBM's own text form: nothing of it is a pickle."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

FloatArray = npt.NDArray[np.float64]
_FIXED = {"verbose": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True}


class LightGBM(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """
    Gradient boosting over histograms (G. Ke et al., 2017).

    Parameters
    ----------
    n_classes : int
        0 for numbers.
    params : dict
        LightGBM's own names: `learning_rate`, `num_leaves`, …; `objective` for numbers is `regression` unless given.
    n_rounds : int
        At most so many trees (a class).
    categorical : sequence of int
        Positions of the columns that hold codes.
    patience : int
        Rounds without a better loss on the evaluation rows after which it stops.
    random_state : int
        Of rows and columns drawn.

    """

    def __init__(
        self,
        *,
        n_classes: int = 2,
        params: dict[str, Any] | None = None,
        n_rounds: int = 500,
        categorical: Sequence[int] = (),
        patience: int = 40,
        random_state: int = 0,
    ) -> None:
        self.n_classes = n_classes
        self.params = params
        self.n_rounds = n_rounds
        self.categorical = categorical
        self.patience = patience
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any, *, evaluation: tuple[Any, Any] | None = None, deadline: float | None = None
    ) -> LightGBM:
        """
        Fit; with evaluation rows, keep the rounds up to the best.

        Parameters
        ----------
        X : array of shape (n_rows, n_features)
            Missing is nan.
        y : array of shape (n_rows,)
            Codes of classes, or numbers.
        evaluation : pair of X and y, optional
            Rows to stop by.
        deadline : float, optional
            Value of `time.process_time()` after which no further round begins.

        """
        import lightgbm

        data = lightgbm.Dataset(
            self._read(X), y, categorical_feature=list(self.categorical), free_raw_data=True, params=dict(_FIXED)
        )
        callbacks: list[Any] = []
        held = []
        if evaluation is not None:
            held = [lightgbm.Dataset(self._read(evaluation[0]), evaluation[1], reference=data)]
            callbacks.append(lightgbm.early_stopping(self.patience, first_metric_only=True, verbose=False))
        if deadline is not None:
            callbacks.append(_stop_at(deadline))
        params = {**self._objective(), **(self.params or {}), **_FIXED, "seed": self.random_state}
        booster = lightgbm.train(params, data, self.n_rounds, valid_sets=held, callbacks=callbacks)
        self.n_iter_ = int(booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration())
        self.model_text_ = (
            booster.model_to_string(num_iteration=self.n_iter_, importance_type="gain").split("\nparameters:")[0] + "\n"
        )
        self.classes_ = np.arange(self.n_classes)
        self._booster = lightgbm.Booster(model_str=self.model_text_)
        return self

    def predict_proba(self, X: Any) -> FloatArray:
        """Probabilities of shape (n_rows, n_classes)."""
        found = self._predict(X)
        return np.stack([1 - found, found], axis=1) if found.ndim == 1 else found

    def predict(self, X: Any) -> Any:
        """Numbers, or codes of the likeliest classes; shape (n_rows,)."""
        return self.predict_proba(X).argmax(axis=1) if self.n_classes else self._predict(X)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_booster"}

    def _predict(self, X: Any) -> FloatArray:
        if getattr(self, "_booster", None) is None:
            import lightgbm

            self._booster = lightgbm.Booster(model_str=self.model_text_)
        return np.asarray(self._booster.predict(self._read(X), num_threads=1), dtype=np.float64)

    def _objective(self) -> dict[str, Any]:
        if not self.n_classes:
            return {"objective": "regression"}
        return (
            {"objective": "binary"} if self.n_classes == 2 else {"objective": "multiclass", "num_class": self.n_classes}
        )

    @staticmethod
    def _read(X: Any) -> Any:
        return np.ascontiguousarray(X.toarray() if hasattr(X, "toarray") else X, dtype=np.float64)


def _stop_at(deadline: float) -> Any:
    import lightgbm

    def check(env: Any) -> None:
        if time.process_time() > deadline and env.iteration > 0:
            best = env.evaluation_result_list or []
            raise lightgbm.callback.EarlyStopException(env.iteration, best)

    check.order = 40  # type: ignore[attr-defined]  # LightGBM's own attribute: after early stopping has noted the round
    return check
