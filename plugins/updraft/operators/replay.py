"""The steps of `replay_quarantine`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from include.errors import ConcurrentWriteError, ContractViolationError, DataError, LakeError, StaleWriterError
from include.workflow import Workflow
from updraft import assets
from updraft.operators.base import UpdraftOperator, fencing_token
from updraft.periods import refuse_unknown_params

if TYPE_CHECKING:
    from include.lake.store import Lake

# So many partitions are listed in the result; the log has all of them.
MAX_LISTED = 200
MAX_STOP = 400
COUNTS = (
    "rows_in",
    "rows_published",
    "rows_quarantined",
    "rows_duplicate",
    "rows_healed",
    "rows_still_quarantined",
    "rows_newly_quarantined",
)


class ReplayOperator(UpdraftOperator):
    """
    Judge partitions again by the suite as it is now, and publish what passes. The sources are asked nothing.

    Only partitions in which something has changed emit an event, so that nothing is trained anew on what is the same.

    :param workflows: the declarations that the form offers; they stay in the Dag file's process and are not serialized
    """

    triage = (
        "the message names the partition or the field of the form. Clear this task once that is mended: a partition "
        "that was replayed already is not written again."
    )

    def __init__(self, *, workflows: Sequence[Workflow], **kwargs: Any) -> None:
        super().__init__(outlets=[assets.validated(workflow) for workflow in workflows], **kwargs)
        self.workflows = {workflow.name: workflow for workflow in workflows}

    def execute(self, context: Any) -> dict[str, Any]:
        """Replay; the result counts rows by partition, and says what is still stopped."""
        refuse_unknown_params(context)
        params = context["params"]
        workflow = self.workflows[params["workflow"]]

        from include.lake.store import open_lake
        from include.quality.standing import choose_partitions

        # An outlet without an event of ours would emit one of its own, without a partition.
        self.outlets: list[Any] = []
        lake = open_lake()
        keys = choose_partitions(
            lake,
            workflow,
            keys=params["partitions"] or (),
            first=params["first_partition"],
            last=params["last_partition"],
        )
        self.log.info(
            "Replaying %d partitions of %s%s", len(keys), workflow.name, " (dry run)" if params["dry_run"] else ""
        )
        reports = {key: self._replay(workflow, key, lake=lake, context=context) for key in keys}
        healed = [key for key, report in reports.items() if report.get("is_changed") or report.get("is_of_this_run")]
        if healed and not params["dry_run"]:
            self._emit(workflow, healed, context=context)
        return _summarise(reports, dry_run=params["dry_run"], workflow_name=workflow.name)

    def _replay(self, workflow: Workflow, key: str, *, lake: Lake, context: Any) -> Mapping[str, Any]:
        """
        Replay one partition. What is stopped, lost, or published by somebody newer, keeps no other from being replayed
        and told of.
        """
        from include.quality.replay import replay_partition

        try:
            report = replay_partition(
                workflow,
                key,
                lake=lake,
                token=fencing_token(context),
                run_id=context["run_id"],
                try_id=str(context["ti"].id),
                dry_run=context["params"]["dry_run"],
            )
        except ContractViolationError as error:
            self.log.warning("%s", error)
            return {"outcome": "stopped", "cause": str(error)[:MAX_STOP]}
        except StaleWriterError as error:
            self.log.warning("%s", error)
            return {"outcome": "fenced"}
        except ConcurrentWriteError:
            raise  # the next try sees the winner's state, and knows what this run has published
        except (DataError, LakeError) as error:
            self.log.error("%s %s: %s", workflow.name, key, error)
            return {"outcome": "failed", "cause": f"{key}: {error}"[:MAX_STOP]}
        self.log.info("%s %s: %s", workflow.name, key, report)
        return {"outcome": "changed" if report.is_changed else "unchanged", **asdict(report)}

    def _emit(self, workflow: Workflow, keys: list[str], *, context: Any) -> None:
        asset = assets.validated(workflow)
        self.outlets = [asset]
        event = context["outlet_events"][asset]
        event.extra = {"replayed": True}
        event.add_partitions(keys)


class RequirePublishedOperator(UpdraftOperator):
    """
    Fail if a partition is still stopped, so that such a replay is not green.

    :param replayed: result of the replay task (templated)
    """

    template_fields: Sequence[str] = ("replayed",)
    triage = (
        "the message names the rules that still stop a partition. Mend the suite or the source, and start another "
        "replay; the partitions that passed are published, and stay so."
    )

    def __init__(self, *, replayed: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.replayed = replayed

    def execute(self, context: Any) -> None:
        """Say which partitions are still stopped, and why."""
        outcomes, n_partitions = self.replayed["outcomes"], self.replayed["n_partitions"]
        n_stopped, n_failed = outcomes.get("stopped", 0), outcomes.get("failed", 0)
        if n_stopped or n_failed:
            what = "are still stopped" if not n_failed else f"are still stopped, and {n_failed} could not be replayed"
            causes = "\n".join(report["cause"] for report in self.replayed["partitions"].values() if "cause" in report)
            raise ContractViolationError(f"{n_stopped} of {n_partitions} partitions {what}:\n{causes}")


def _summarise(reports: Mapping[str, Mapping[str, Any]], *, dry_run: bool, workflow_name: str) -> dict[str, Any]:
    """Totals, and the partitions that somebody will want to see: those that changed, or did not pass."""
    listed = sorted(reports, key=lambda key: (reports[key]["outcome"] == "unchanged", key))[:MAX_LISTED]
    fields = ("outcome", "cause", *COUNTS)
    return {
        "workflow": workflow_name,
        "dry_run": dry_run,
        "n_partitions": len(reports),
        "outcomes": dict(Counter(report["outcome"] for report in reports.values())),
        "totals": {name: sum(report.get(name, 0) for report in reports.values()) for name in COUNTS},
        "partitions": {
            key: {name: reports[key][name] for name in fields if name in reports[key]} for key in sorted(listed)
        },
        "n_left_out": len(reports) - len(listed),
    }
