"""Settings come from the environment alone; what is wrong is named with its variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.errors import SettingsError
from include.settings import read_settings


def test_defaults_stay_in_one_folder(tmp_path):
    settings = read_settings({"UPDRAFT_HOME": str(tmp_path)})
    assert settings.lake_uri == str(tmp_path / "lake")
    assert settings.registry_uri == f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert Path(settings.artifacts_uri) == tmp_path / "artifacts"
    assert settings.storage_options == {}


def test_endpoint_of_one_workflow_wins_over_the_common_one():
    settings = read_settings(
        {"UPDRAFT_ENDPOINT_URL": "http://a:1", "UPDRAFT_ENDPOINT_URL__FLIGHT_DELAYS": "http://b:2/"}
    )
    assert settings.endpoint_url_of("flight_delays") == "http://b:2"
    assert settings.endpoint_url_of("other") == "http://a:1"


def test_s3_needs_both_keys_and_keeps_them_out_of_repr():
    env = {
        "UPDRAFT_S3_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "sss",
    }
    settings = read_settings(env)
    assert settings.storage_options["AWS_ALLOW_HTTP"] == "true"
    assert "sss" not in repr(settings)
    del env["AWS_SECRET_ACCESS_KEY"]
    with pytest.raises(SettingsError, match="AWS_SECRET_ACCESS_KEY is not: set both keys"):
        read_settings(env)


@pytest.mark.parametrize(
    ("name", "value"),
    [("UPDRAFT_LAKE_URI", "ftp://lake"), ("UPDRAFT_ENDPOINT_URL", "localhost:8642"), ("UPDRAFT_ENDPOINT_URL__A", "b")],
)
def test_malformed_settings_name_the_variable(name, value):
    with pytest.raises(SettingsError, match=name):
        read_settings({name: value})
