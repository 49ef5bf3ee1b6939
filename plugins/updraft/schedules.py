"""When each Dag runs: cron per partition, and the roll-up of partitions into training periods."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import (
    CronPartitionTimetable,
    DayWindow,
    IdentityMapper,
    MinimumCount,
    MonthWindow,
    PartitionedAssetTimetable,
    PartitionMapper,
    RollupMapper,
    StartOfDayMapper,
    StartOfMonthMapper,
    StartOfWeekMapper,
    WaitForAll,
    WeekWindow,
)

from include.workflow import Workflow
from include.workflow.partitions import KEY_FORMATS, Every
from updraft import assets

_CRON: dict[Every, str] = {"hour": "0 * * * *", "day": "0 0 * * *", "week": "0 0 * * 1", "month": "0 0 1 * *"}
_SHORTEST: dict[Every, timedelta] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=31),
}
_START_OF = {"day": StartOfDayMapper, "week": StartOfWeekMapper, "month": StartOfMonthMapper}
_WINDOW = {"day": DayWindow, "week": WeekWindow, "month": MonthWindow}


def every_partition(every: Every, *, delay: timedelta = timedelta(0)) -> CronPartitionTimetable:
    """
    Run as each partition ends, or as many whole periods later as fit into `delay`; what is left of it the run waits
    out.

    Scheduled and backfilled runs of one partition carry the same key, whatever the delay.
    """
    return CronPartitionTimetable(
        _CRON[every], timezone="UTC", run_offset=-1 - delay // _SHORTEST[every], key_format=KEY_FORMATS[every]
    )


def when_period_is_validated(workflow: Workflow) -> PartitionedAssetTimetable:
    """
    Run once the training period's partitions are validated: all of them, or as many as `window_minimum` says.

    Where drift or decay is declared, also on the monitor's request, which carries the key of a period.
    """
    validated, requested = assets.validated(workflow), assets.retrain_requested(workflow)
    if not workflow.monitoring.asks_for_training:
        return PartitionedAssetTimetable(assets=validated, default_partition_mapper=_period_mapper(workflow))
    return PartitionedAssetTimetable(
        assets=validated | requested,
        partition_mapper_config={validated: _period_mapper(workflow), requested: IdentityMapper()},
    )


def when_model_is_registered(workflow: Workflow) -> PartitionedAssetTimetable:
    """Run for each version that the gate let through."""
    return PartitionedAssetTimetable(assets=assets.model(workflow))


def _period_mapper(workflow: Workflow) -> PartitionMapper:
    partition, period = workflow.partition.every, workflow.training.every
    if partition == period:
        return IdentityMapper()
    minimum = workflow.training.window_minimum
    return RollupMapper(
        upstream_mapper=_START_OF[period](input_format=KEY_FORMATS[partition], output_format=KEY_FORMATS[period]),
        window=_WINDOW[period](),
        wait_policy=WaitForAll() if minimum is None else MinimumCount(minimum),
    )
