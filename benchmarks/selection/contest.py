"""
One system on one table: `python contest.py SYSTEM FOLDER TABLE BUDGET SEED` prints one line of JSON.

It runs in the system's own environment, so it imports nothing of this project but for Updraft itself. The budget is CPU
time, so that neighbours on the machine do not matter: the clock that each system looks at is the process's CPU time.
"""

# mypy: ignore-errors
# Half of what is imported lies in the peers' environments, not in this project's.

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
_START = time.time()
time.time = lambda: _START + time.process_time()
time.perf_counter = time.monotonic = time.process_time

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

N_CLASSES_BINARY = 2


def split(frame: pd.DataFrame, about: dict[str, Any], seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A quarter to test on: by time where the table has one, else at random, stratified by class."""
    from sklearn.model_selection import train_test_split

    if about["time"]:
        ordered = frame.sort_values(about["time"], kind="stable").reset_index(drop=True)
        cut = int(0.75 * len(ordered))
        return ordered[:cut], ordered[cut:].reset_index(drop=True)
    strata = None if about["task"] == "regression" else frame[about["target"]]
    train, test = train_test_split(frame, test_size=0.25, random_state=seed, stratify=strata)
    return train.reset_index(drop=True), test.reset_index(drop=True)


def loss_of(task: str, y_true: Any, predicted: Any, classes: list[Any]) -> float:
    """Log loss, or the root of the mean squared error."""
    if task == "regression":
        return float(np.sqrt(np.mean((np.asarray(predicted, float) - np.asarray(y_true, float)) ** 2)))
    codes = pd.Index(classes).get_indexer(np.asarray(y_true))
    p = np.asarray(predicted, float)
    p = np.clip(p / p.sum(axis=1, keepdims=True), 1e-15, 1)
    return float(-np.mean(np.log(p[np.arange(len(codes)), codes])))


def numeric(train: pd.DataFrame, test: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, list[bool]]:
    """What plain boosting reads: categories of few values as pandas categories, dates and other text as numbers."""
    train, test, mask = train.copy(), test.copy(), []
    for column in train.columns:
        kind = train[column].dtype
        if str(kind).startswith("datetime"):
            train[column], test[column] = (f[column].astype("int64") / 1e9 for f in (train, test))
            mask.append(False)
        elif pd.api.types.is_object_dtype(kind) or str(kind) in ("str", "string", "bool"):
            train[column], test[column] = (
                f[column].map(lambda v: None if v is None else str(v)).astype(object) for f in (train, test)
            )
            values = train[column].value_counts().index[:250].astype(object)
            train[column], test[column] = (pd.Categorical(f[column], categories=values) for f in (train, test))
            mask.append(True)
        else:
            mask.append(False)
    return train, test, mask


def run_hgb(task: str, X: Any, y: Any, X_test: Any, budget: float, seed: int) -> tuple[Any, list[Any]]:
    """Histogram gradient boosting as it comes."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    X, X_test, mask = numeric(X, X_test)
    if task == "regression":
        return HistGradientBoostingRegressor(categorical_features=mask, random_state=seed).fit(X, y).predict(X_test), []
    model = HistGradientBoostingClassifier(categorical_features=mask, random_state=seed).fit(X, y)
    return model.predict_proba(X_test), list(model.classes_)


def run_halving(task: str, X: Any, y: Any, X_test: Any, budget: float, seed: int) -> tuple[Any, list[Any]]:
    """Successive halving over histogram boosting; it knows no budget but the number of its candidates."""
    from scipy.stats import loguniform, randint
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingRandomSearchCV

    X, X_test, mask = numeric(X, X_test)
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    start = time.process_time()
    kind(categorical_features=mask, max_iter=100, random_state=seed).fit(X, y)
    one = max(time.process_time() - start, 0.02)
    space = {
        "learning_rate": loguniform(0.02, 0.3), "max_leaf_nodes": randint(4, 64), "min_samples_leaf": randint(5, 80),
        "l2_regularization": loguniform(1e-3, 10), "max_iter": randint(50, 300),
    }  # fmt: skip
    scoring = "neg_root_mean_squared_error" if task == "regression" else "neg_log_loss"
    search = HalvingRandomSearchCV(
        kind(categorical_features=mask, random_state=seed), space, n_candidates=max(3, int(budget / one / 4)),
        cv=3, factor=3,
        scoring=scoring, random_state=seed, n_jobs=1, min_resources=max(200,
        len(X) // 10) if len(X) > 2000 else "smallest",
    ).fit(X, y)  # fmt: skip
    if task == "regression":
        return search.predict(X_test), []
    return search.predict_proba(X_test), list(search.classes_)


def run_optuna(task: str, X: Any, y: Any, X_test: Any, budget: float, seed: int) -> tuple[Any, list[Any]]:
    """
    Optuna's TPE over LightGBM's parameters, early stopping on a fifth, until the budget ends; the best is fitted again
    on all rows.
    """
    import lightgbm
    import optuna
    from sklearn.model_selection import train_test_split

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    X, X_test, _ = numeric(X, X_test)
    X.columns = X_test.columns = [f"c{i}" for i in range(X.shape[1])]
    classes, codes = ([], np.asarray(y, float)) if task == "regression" else (sorted(set(y)), None)
    if codes is None:
        codes = pd.Index(classes).get_indexer(np.asarray(y))
    fit, held, y_fit, y_held = train_test_split(
        X, codes, test_size=0.2, random_state=seed, stratify=codes if classes else None
    )
    kind = "regression" if not classes else "binary" if len(classes) == N_CLASSES_BINARY else "multiclass"
    fixed = {"objective": kind, "verbose": -1, "num_threads": 1, "seed": seed, "bagging_freq": 1}
    fixed |= {"num_class": len(classes)} if kind == "multiclass" else {}
    start = time.process_time()

    def objective(trial: Any) -> float:
        params = fixed | {
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
            "num_leaves": trial.suggest_int("num_leaves", 4, 256, log=True),
            "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 2, 100, log=True),
            "feature_fraction": trial.suggest_float("feature_fraction", 0.3, 1.0),
            "bagging_fraction": trial.suggest_float("bagging_fraction", 0.4, 1.0),
            "lambda_l1": trial.suggest_float("lambda_l1", 1e-8, 10, log=True),
            "lambda_l2": trial.suggest_float("lambda_l2", 1e-8, 10, log=True),
        }
        data = lightgbm.Dataset(fit, y_fit, free_raw_data=False)
        booster = lightgbm.train(
            params, data, 2000, valid_sets=[lightgbm.Dataset(held, y_held, reference=data)],
            callbacks=[lightgbm.early_stopping(50, verbose=False)],
        )  # fmt: skip
        trial.set_user_attr("rounds", booster.best_iteration)
        trial.set_user_attr("params", params)
        return float(next(iter(booster.best_score["valid_0"].values())))

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    while time.process_time() - start < 0.85 * budget:
        study.optimize(objective, n_trials=1)
    best = study.best_trial.user_attrs
    predicted = lightgbm.train(best["params"], lightgbm.Dataset(X, codes), int(best["rounds"] * 1.2)).predict(X_test)
    return (np.stack([1 - predicted, predicted], axis=1) if kind == "binary" else predicted), classes


def run_flaml(task: str, X: Any, y: Any, X_test: Any, budget: float, seed: int) -> tuple[Any, list[Any]]:
    """FLAML, with its own choice of learners."""
    from flaml import AutoML

    X, X_test = (_without_bool(part) for part in (X, X_test))
    automl = AutoML()
    settings = (
        {"task": "regression", "metric": "rmse"}
        if task == "regression"
        else {"task": "classification", "metric": "log_loss"}
    )
    automl.fit(X, np.asarray(y), time_budget=budget, seed=seed, n_jobs=1, verbose=0, **settings)
    if task == "regression":
        return automl.predict(X_test), []
    return automl.predict_proba(X_test), list(automl.classes_)


def run_autogluon(preset: str) -> Any:
    """AutoGluon with one of its presets."""

    def run(task: str, X: Any, y: Any, X_test: Any, budget: float, seed: int) -> tuple[Any, list[Any]]:
        import tempfile

        from autogluon.tabular import TabularPredictor

        kind = {"regression": "regression", "multiclass": "multiclass", "classification": "binary"}[task]
        with tempfile.TemporaryDirectory() as folder:
            predictor = TabularPredictor(
                label="__y", problem_type=kind,
                eval_metric="root_mean_squared_error" if task == "regression" else "log_loss",
                path=folder, verbosity=0,
            )  # fmt: skip
            extra = (
                {}
                if preset == "medium_quality"
                else {"ds_args": {"enable_ray_logging": False}, "dynamic_stacking": False}
            )
            predictor.fit(
                X.assign(__y=np.asarray(y)), time_limit=budget, presets=preset, num_cpus=1, num_gpus=0,
                ag_args_ensemble={"fold_fitting_strategy": "sequential_local"}, **extra,
            )  # fmt: skip
            if task == "regression":
                return predictor.predict(X_test).to_numpy(), []
            found = predictor.predict_proba(X_test)
            return found.to_numpy(), list(found.columns)

    return run


def run_updraft(task: str, X: Any, y: Any, X_test: Any, budget: float, seed: int) -> tuple[Any, list[Any]]:
    """Updraft's own search, in one process."""
    from include.selection.search import search

    found = search(
        X,
        np.asarray(y),
        task=task,
        metric="rmse" if task == "regression" else "log_loss",
        budget_seconds=budget,
        random_state=seed,
    )
    print(found.tell(), file=sys.stderr)
    return found.predict(X_test), list(found.classes)


def _without_bool(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{c: frame[c].astype("category") for c in frame.columns if frame[c].dtype == object})


SYSTEMS = {
    "hgb": run_hgb, "halving": run_halving, "optuna": run_optuna, "flaml": run_flaml,
    "autogluon_medium": run_autogluon("medium_quality"), "autogluon_best": run_autogluon("best_quality"),
    "updraft": run_updraft,
}  # fmt: skip


def main(system: str, folder: str, table: str, budget: str, seed: str) -> None:
    """Run and print."""
    warnings.simplefilter("ignore")
    about = json.loads((Path(folder) / "tables.json").read_text())[table]
    train, test = split(pd.read_parquet(Path(folder) / f"{table}.parquet"), about, int(seed))
    X, X_test = (part.drop(columns=[about["target"]]) for part in (train, test))
    y, y_test = train[about["target"]], test[about["target"]]
    if about["task"] != "regression":
        y, y_test = y.astype(str), y_test.astype(str)
    start = time.process_time()
    predicted, classes = SYSTEMS[system](about["task"], X, y, X_test, float(budget), int(seed))
    spent = time.process_time() - start
    loss = loss_of(about["task"], y_test, predicted, classes)
    print(
        json.dumps(
            {
                "system": system,
                "table": table,
                "budget": float(budget),
                "seed": int(seed),
                "loss": loss,
                "cpu_seconds": spent,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
