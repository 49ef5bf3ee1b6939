"""Every target is held to the same contract (`include.deployment.target`): the local endpoint, and SageMaker."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from include.errors import CanaryError, DeploymentError, EndpointUnavailableError, SmokeTestError, StalePromotionError
from include.registry.promotion import promote
from tests.containers import ProcessContainer
from tests.deployment.processes import deploy_in
from tests.deployment.sites import CloudSite, LocalSite, Site, Traffic, cloud_site, local_site
from tests.deployment.spoiled import KINDS
from tests.registry.house import House
from tests.registry.processes import run_killed
from tests.sagemaker_api import Refused

TARGETS = ("local", "sagemaker")
ROLL_BACK_SECONDS = 30


LOCAL_QUICKLY = pytest.mark.parametrize(
    "site", ["local", pytest.param("sagemaker", marks=pytest.mark.claim("deployment"))], indirect=True
)


@pytest.fixture(params=TARGETS)
def site(request: pytest.FixtureRequest, house: House, tmp_path: Path) -> Iterator[Site]:
    """A site of each target, without a champion."""
    if request.param == "local":
        with local_site(house) as found:
            yield found
    else:
        with cloud_site(house, request.getfixturevalue("s3"), tmp_path / "sagemaker") as found:
            yield found


@pytest.fixture
def champion(site: Site) -> str:
    """The version that serves."""
    version = site.register("monday3")
    site.house.decide(version, None)
    site.deploy(version)
    return version


def candidate_of(site: Site, champion: str, training: str = "monday3b") -> str:
    version = site.register(training)
    site.house.decide(version, champion)
    return version


@LOCAL_QUICKLY
def test_versions_follow_each_other_and_leave_nothing_behind(site: Site, champion: str) -> None:
    """Staged, tested, tried on half of the traffic, promoted; all again changes nothing."""
    assert site.state() == (champion, champion, champion, 1)
    candidate = candidate_of(site, champion)
    with Traffic(site, per_second=50) as traffic:
        (report,) = site.deploy(candidate)
    assert traffic.n_failed == 0
    assert report.n_requests > 0
    assert 0 < traffic.answered_by(candidate) < len(traffic.replies)
    assert site.state() == (candidate, candidate, candidate, 2)
    assert site.leftovers() == {}
    assert site.deploy(candidate) == []
    assert site.state() == (candidate, candidate, candidate, 2)
    assert site.leftovers() == {}


@pytest.mark.claim("deployment")
def test_what_the_ledger_refuses_after_a_canary_answers_nobody(site: Site, champion: str) -> None:
    candidate = candidate_of(site, champion)
    other = candidate_of(site, champion, "monday4")
    site.stage(candidate)
    with Traffic(site, per_second=50):
        site.shift(candidate)
    # Somebody else was promoted meanwhile.
    promote(
        site.workflow, other, lake=site.house.lake, registry=site.house.registry, target="elsewhere", decided_by="test"
    )
    with pytest.raises(StalePromotionError, match="a champion never gets older by itself"):
        site.promote(candidate)
    assert site.state()[:2] == (other, other)
    assert site.state()[2] != candidate
    assert site.leftovers() == {}


@pytest.mark.claim("deployment")
def test_no_request_reaches_a_version_without_evidence(site: Site, champion: str) -> None:
    never_judged = site.register("monday3b")
    site.stage(never_judged)
    with Traffic(site) as traffic, pytest.raises(Exception, match="was never judged"):
        site.shift(never_judged)
    assert traffic.answered_by(never_judged) == 0


@pytest.mark.claim("deployment")
def test_a_version_that_fails_its_smoke_test_is_gone(site: Site, champion: str) -> None:
    candidate = candidate_of(site, champion, "spoiled-error")
    site.stage(candidate)
    site.go_wrong("error")
    with pytest.raises(SmokeTestError, match="It was dropped, the champion goes on answering"):
        site.smoke(candidate)
    assert site.state() == (champion, champion, champion, 1)
    assert site.leftovers() == {}


@LOCAL_QUICKLY
def test_a_version_that_errs_is_withdrawn_from_its_canary(site: Site, champion: str) -> None:
    assert withdraw(site, champion, "error") < ROLL_BACK_SECONDS


@pytest.mark.claim("deployment")
@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_version_is_rolled_back_while_the_old_one_answers(
    site: Site, champion: str, kind: str, record_property: Any
) -> None:
    """It got past its smoke test, somehow: 20 requests a second, none of them unanswered on the local endpoint."""
    seconds = withdraw(site, champion, kind)
    assert seconds < ROLL_BACK_SECONDS
    record_property("figure", f"{kind}, {site.target.name.partition(':')[0]}: rolled back in {seconds:.1f} s")


def withdraw(site: Site, champion: str, kind: str) -> float:
    """
    Seconds from the canary's begin until the champion answers everything again; what users saw meanwhile
    is looked at.
    """
    candidate = candidate_of(site, champion, f"spoiled-{kind}")
    site.stage(candidate)
    if isinstance(site, CloudSite) and kind in ("slow", "distribution"):
        site.api.time_scale *= 100 if kind == "slow" else 10  # what shows it takes longer than the shortened bake would
    with Traffic(site) as traffic:
        breaking = threading.Thread(target=lambda: (site.wait_for_canary(), site.go_wrong(kind)))
        breaking.start()
        started = time.monotonic()
        with pytest.raises(CanaryError, match="withdrawn from"):
            site.shift(candidate)
        seconds = time.monotonic() - started
        breaking.join()
        n_before = len(traffic.replies)
        while len(traffic.replies) < n_before + 10:
            time.sleep(0.02)
    assert site.state() == (champion, champion, champion, 1)
    assert site.leftovers() == {}
    assert traffic.replies[n_before + 1 :] == [(200, champion)] * (len(traffic.replies) - n_before - 1)
    assert traffic.answered_by(champion) > 0
    if isinstance(site, LocalSite):
        # The endpoint asks the champion whatever the new version fails; SageMaker answers the canary's share with the
        # error.
        assert traffic.n_failed == 0
    return seconds


@pytest.mark.claim("deployment")
def test_a_good_version_is_not_rolled_back(site: Site, champion: str, record_property: Any) -> None:
    """The control: what withdraws bad versions lets a good one pass."""
    candidate = candidate_of(site, champion)
    site.stage(candidate)
    with Traffic(site) as traffic:
        site.shift(candidate)
    assert (traffic.n_failed, site.state()[0]) == (0, champion)
    record_property("figure", f"a good version passes, {len(traffic.replies)} requests")


@pytest.mark.claim("deployment")
def test_ten_switches_under_load_fail_no_request(site: Site, champion: str, record_property: Any) -> None:
    versions = [champion, candidate_of(site, champion)]
    with Traffic(site) as traffic:
        for i in range(10):
            version, previous = versions[(i + 1) % 2], versions[i % 2]
            site.house.decide(version, previous)
            site.deploy(version)
    assert traffic.n_failed == 0
    assert site.state()[0] == site.state()[2] == champion
    assert site.leftovers() == {}
    served = [found for _, found in traffic.replies]
    assert set(served) == set(versions)
    record_property(
        "figure", f"10 switches, {len(served)} requests at 20 a second, 0 failed ({site.target.name.partition(':')[0]})"
    )


LOCAL_STEPS = ("rollout.after_stage", "local.before_canary", "local.in_canary", "rollout.after_shift")
LEDGER_STEPS = ("promote.before_ledger", "promote.before_alias", "rollout.before_switch", "rollout.after_switch")
CLOUD_STEPS = (
    "bundle.after_upload",
    "sagemaker.before_model",
    "sagemaker.before_config",
    "sagemaker.before_staging",
    "sagemaker.after_staging",
    "rollout.after_stage",
    "sagemaker.before_update",
    "sagemaker.after_update",
    "rollout.after_shift",
    "sagemaker.before_verification",
    "sagemaker.before_removal",
    "sagemaker.in_removal",
)
CRASHES = [("local", step) for step in (*LOCAL_STEPS, *LEDGER_STEPS)] + [
    ("sagemaker", step) for step in (*CLOUD_STEPS, *LEDGER_STEPS)
]


@pytest.mark.claim("deployment")
@pytest.mark.parametrize(("site", "step"), CRASHES, indirect=["site"])
def test_killed_at_each_step_a_rerun_converges(site: Site, champion: str, step: str, record_property: Any) -> None:
    candidate = candidate_of(site, champion)
    with Traffic(site) as traffic:
        run_killed(deploy_in, site.house.settings.home, site.house.packages, candidate, dict(site.place), step)
        site.deploy(candidate)
    assert traffic.n_failed == 0
    assert site.state() == (candidate, candidate, candidate, 2)
    assert site.leftovers() == {}
    if isinstance(site, CloudSite):
        # One model, configuration and staging endpoint of each of the two versions, and the users' endpoint: nothing
        # was made twice.
        counts = [site.api.count(name) for name in ("CreateModel", "CreateEndpointConfig", "UpdateEndpoint")]
        assert counts == [2, 2, 1]
        assert len(site.api.endpoints) == 1
    record_property("figure", f"killed at {step}: one endpoint, no orphan, {len(traffic.replies)} requests, 0 failed")


@pytest.mark.claim("deployment")
def test_the_first_version_killed_at_each_cloud_step_converges(house: House, s3: Any, tmp_path: Path) -> None:
    for i, step in enumerate(("sagemaker.before_endpoint", "sagemaker.before_verification")):
        with cloud_site(house, s3, tmp_path / str(i)) as site:
            version = site.register("monday3")
            if i == 0:
                site.house.decide(version, None)
            run_killed(deploy_in, site.house.settings.home, site.house.packages, version, dict(site.place), step)
            site.deploy(version)
            assert site.state() == (version, version, version, 1)
            assert site.leftovers() == {}


@pytest.mark.claim("deployment")
def test_the_container_is_a_process_that_knows_nothing_but_its_bundle(
    house: House, s3: Any, tmp_path: Path, record_property: Any
) -> None:
    with cloud_site(house, s3, tmp_path / "sagemaker", start=ProcessContainer) as site:
        version = site.register("monday3")
        site.house.decide(version, None)
        site.deploy(version)
        candidate = candidate_of(site, version)
        with Traffic(site) as traffic:
            site.deploy(candidate)
        assert site.state() == (candidate, candidate, candidate, 2)
        assert traffic.n_failed == 0
        record_property(
            "figure", f"real containers' processes, {len(traffic.replies)} requests over a switch, 0 failed"
        )


def test_a_container_that_does_not_start_is_removed(house: House, s3: Any, tmp_path: Path) -> None:
    """What came through S3 is not what was judged: the container refuses it, whoever has changed it."""
    with cloud_site(house, s3, tmp_path / "sagemaker") as site:
        start = site.api.start

        def tampered(folder: Path, environment: Any) -> Any:
            (folder / "features.py").write_text("import os\n")
            return start(folder, environment)

        site.api.start = tampered
        version = site.register("monday3")
        with pytest.raises(DeploymentError, match=r"does not start on SageMaker \(Failed: .*features.py .*digest"):
            site.stage(version)
        assert site.api.names() == ([], [], [], [])


@pytest.fixture
def cloud(house: House, s3: Any, tmp_path: Path) -> Iterator[CloudSite]:
    """A site of SageMaker alone."""
    with cloud_site(house, s3, tmp_path / "sagemaker") as found:
        yield found


@pytest.mark.claim("deployment")
def test_a_roll_back_that_fails_stops_further_deployments(cloud: CloudSite) -> None:
    champion = cloud.register("monday3")
    cloud.house.decide(champion, None)
    cloud.deploy(champion)
    candidate = candidate_of(cloud, champion, "spoiled-nan")
    cloud.stage(candidate)
    cloud.api.breaks_rollbacks = True
    with pytest.raises(DeploymentError, match="UpdateRollbackFailed"):
        cloud.shift(candidate)
    other = candidate_of(cloud, champion)
    with pytest.raises(DeploymentError, match="nothing is deployed to it until somebody has mended or deleted it"):
        cloud.stage(other)
    assert cloud.state() == (champion, champion, champion, 1)
    # What the message asks for: the endpoint is deleted by hand, and made anew from the ledger's champion.
    cloud.api.breaks_rollbacks = False
    cloud.resources.client("sagemaker").delete_endpoint(EndpointName="parcels")
    assert cloud.promote(champion) == 1
    assert cloud.state() == (champion, champion, champion, 1)
    assert cloud.leftovers() == {}


@pytest.mark.claim("deployment")
@pytest.mark.parametrize(
    ("code", "error", "told"),
    [
        ("ThrottlingException", EndpointUnavailableError, "try again"),
        (
            "AccessDeniedException",
            DeploymentError,
            "AWS does not create model .*AccessDeniedException: no rights .see docs/deployment.md",
        ),
    ],
)
def test_what_aws_refuses_is_told_and_whether_a_retry_helps(
    cloud: CloudSite, code: str, error: type[Exception], told: str
) -> None:
    version = cloud.register("monday3")
    # boto3 tries four times by itself.
    cloud.api.faults["CreateModel"] = [Refused("no rights", code=code)] * (4 if code == "ThrottlingException" else 1)
    with pytest.raises(error, match=told) as caught:
        cloud.stage(version)
    assert caught.value.is_retryable == (error is EndpointUnavailableError)  # type: ignore[attr-defined]
    assert cloud.place["secret"] not in str(caught.value)
    cloud.stage(version)


@pytest.mark.claim("deployment")
def test_the_emulation_refuses_what_sagemaker_refuses(cloud: CloudSite) -> None:
    """The control of all tests above: it is no server that says yes to everything."""
    client = cloud.resources.client("sagemaker")
    refused: list[tuple[str, dict[str, Any], str]] = [
        (
            "create_endpoint_config",
            {"EndpointConfigName": "a_b", "ProductionVariants": [{"VariantName": "v"}]},
            "regular expression",
        ),
        (
            "create_endpoint",
            {"EndpointName": "a", "EndpointConfigName": "absent"},
            "Could not find endpoint configuration",
        ),
        ("update_endpoint", {"EndpointName": "absent", "EndpointConfigName": "absent"}, "Could not find endpoint"),
        ("create_model", {"ModelName": "m", "ExecutionRoleArn": "x" * 20}, "regular expression"),
        ("describe_model", {"ModelName": "absent"}, "Could not find model"),
        ("list_domains", {}, "not part of this emulation"),
    ]
    for operation, given, told in refused:
        with pytest.raises(ClientError, match=told):
            getattr(client, operation)(**given)
