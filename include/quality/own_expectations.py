"""
Updraft's own expectations, declared in Great Expectations' way: each class registers itself, and says which arguments
it takes.

They need more than the rows of one partition (what was published before, another workflow's table), which Great
Expectations does not know: `own_rules.py` judges by them. A suite that holds them is still a suite that Great
Expectations loads and renders.
"""

from __future__ import annotations

from typing import Any, ClassVar

from include.quality.gx import BatchExpectation, pydantic
from include.workflow.durations import parse_duration

_NAME = r"^[a-z][a-z0-9_]{0,39}$"


class _OwnExpectation(BatchExpectation):  # type: ignore[misc]
    """What all of them share. Its name begins with an underscore, and no suite can name it."""

    judges_rows: ClassVar[bool] = False

    def _validate(self, metrics: Any, runtime_configuration: Any = None, execution_engine: Any = None) -> Any:
        raise NotImplementedError(
            f"{self.expectation_type} looks beyond one batch: Updraft's validation judges by it, Great Expectations "
            "can't"
        )


class ExpectPartitionRowCountToBeWithinHistory(_OwnExpectation):
    """Rows of the partition, as a ratio to the median of the published partitions before it."""

    min_ratio: float | None = pydantic.Field(default=None, gt=0, le=1)
    max_ratio: float | None = pydantic.Field(default=None, ge=1)
    by_weekday: bool = False
    by_hour: bool = False
    minimum_partitions: int = pydantic.Field(default=3, ge=1, le=1000)

    @pydantic.root_validator(skip_on_failure=True)  # type: ignore[untyped-decorator]
    def _check_bounds(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values["min_ratio"] is None and values["max_ratio"] is None:
            raise ValueError("states no bound, so everything passes: give 'min_ratio', 'max_ratio' or both")
        return values


class ExpectColumnDistributionToMatchHistory(_OwnExpectation):
    """Population stability index of a column's accepted values against those of the published partitions before it."""

    column: str
    max_psi: float = pydantic.Field(default=0.25, gt=0, le=10)
    minimum_partitions: int = pydantic.Field(default=3, ge=1, le=1000)
    minimum_rows: int = pydantic.Field(default=100, ge=20)


class ExpectPartitionToBeFresh(_OwnExpectation):
    """How close to the partition's end its newest row is, and how soon its rows became known."""

    max_gap: str | None = None
    max_known_lag: str | None = None
    share: float = pydantic.Field(default=0.95, gt=0, le=1)

    @pydantic.validator("max_gap", "max_known_lag")  # type: ignore[untyped-decorator]
    def _check_duration(cls, value: str | None) -> str | None:
        if value is not None:
            parse_duration(value)
        return value

    @pydantic.root_validator(skip_on_failure=True)  # type: ignore[untyped-decorator]
    def _check_bounds(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values["max_gap"] is None and values["max_known_lag"] is None:
            raise ValueError("states no bound, so everything passes: give 'max_gap', 'max_known_lag' or both")
        return values


class ExpectColumnValuesToExistInTable(_OwnExpectation):
    """Each value of a column is in a column of what another workflow has published by the partition's end."""

    judges_rows: ClassVar[bool] = True

    column: str
    other_workflow: str = pydantic.Field(regex=_NAME)
    other_column: str
    mostly: float | None = pydantic.Field(default=None, gt=0, le=1)


OWN_EXPECTATIONS = (
    ExpectPartitionRowCountToBeWithinHistory,
    ExpectColumnDistributionToMatchHistory,
    ExpectPartitionToBeFresh,
    ExpectColumnValuesToExistInTable,
)
