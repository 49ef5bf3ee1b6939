"""What the stack's processes are told, and what of the caller's environment does not reach them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest

from embedded.airflow_env import stack_environment
from embedded.databases import SETTING, check_server, create_databases, database_uri, is_external
from embedded.home import Home, choose_ports, prepare_home
from embedded.postgres import PostgresServer
from include.errors import SettingsError
from include.settings import PROJECT_ROOT


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(folder=tmp_path / "state")
    prepare_home(home)
    choose_ports(home)
    (home.folder / "postgres").mkdir()
    (home.folder / "postgres" / "password").write_text("of-the-server", encoding="utf-8")
    return home


def test_another_airflow_of_the_user_does_not_leak_in(home: Home) -> None:
    given = {
        "AIRFLOW_HOME": "/home/them/airflow",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__API__PORT": "1",
        "AIRFLOW_CONN_THEIRS": "http://them",
        "PYTHONPATH": "/theirs",
        "VIRTUAL_ENV": "/theirs",
        "MAKEFLAGS": "-j",
        "HOME": "/home/them",
    }
    environment = stack_environment(home, given)
    assert environment["AIRFLOW_HOME"] == str(home.airflow)
    assert environment["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert environment["AIRFLOW__API__PORT"] == str(home.ports["airflow"])
    assert environment["AIRFLOW_CONN_THEIRS"] == "http://them"
    assert environment["HOME"] == "/home/them"
    assert environment["PYTHONPATH"].split(":") == [
        str(PROJECT_ROOT),
        str(PROJECT_ROOT / "plugins"),
        str(PROJECT_ROOT / "config"),
    ]
    assert not {"VIRTUAL_ENV", "MAKEFLAGS"} & set(environment)


def test_loopback_goes_past_the_users_proxy(home: Home) -> None:
    assert stack_environment(home, {"no_proxy": "intranet"})["NO_PROXY"] == "intranet,127.0.0.1,localhost"
    assert stack_environment(home, {})["no_proxy"] == "127.0.0.1,localhost"


def test_everything_listens_on_loopback(home: Home) -> None:
    environment = stack_environment(home, {})
    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert environment["UPDRAFT_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert "@127.0.0.1:" in environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]


def test_tasks_read_the_flights_with_a_role_that_only_reads(home: Home) -> None:
    uri = stack_environment(home, {})["AIRFLOW_CONN_FLIGHTS_DB"]
    assert uri.startswith("postgresql://flights_reader:")
    assert "of-the-server" not in uri


def test_settings_of_the_caller_win(home: Home) -> None:
    given = {
        "AIRFLOW_CONN_FLIGHTS_DB": "postgresql://theirs",
        "UPDRAFT_REGISTRY_URI": "http://mlflow",
        "UPDRAFT_LAKE_URI": "s3://lake",
    }
    environment = stack_environment(home, given)
    assert {name: environment[name] for name in given} == given


@pytest.mark.parametrize(
    ("setting", "option", "default"),
    [
        ("UPDRAFT_DAG_PARSE_SECONDS", "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL", "30"),
        ("UPDRAFT_SCHEDULER_IDLE_SECONDS", "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME", "0.1"),
    ],
)
def test_what_spares_an_idle_machine_may_be_set(home: Home, setting: str, option: str, default: str) -> None:
    assert stack_environment(home, {})[option] == default
    assert stack_environment(home, {setting: "77"})[option] == "77"


def test_airflow_takes_the_configuration_over(home: Home) -> None:
    """Asked of Airflow itself: a misspelt option would be ignored without a word."""
    script = (
        "from airflow.configuration import conf\n"
        "print(conf.getint('core', 'parallelism'), conf.getfloat('scheduler', 'scheduler_idle_sleep_time'),"
        " conf.getboolean('core', 'load_examples'), conf.getint('scheduler', 'max_tis_per_query'), conf.get('core', "
        "'mp_start_method'))\n"
        "known = conf.configuration_description\n"
        "import os\n"
        "names = [name[9:].lower().split('__') for name in os.environ if name.startswith('AIRFLOW__')]\n"
        "print([name for name in names if name[1] not in known.get(name[0], {}).get('options', {})])\n"
    )
    environment = stack_environment(home)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    first, second = done.stdout.strip().splitlines()[-2:]
    assert first == "16 0.1 False 64 fork"
    assert second == "[]"


class TestTeamsOwnServer:
    """`UPDRAFT_POSTGRES_URI` names a server: everything goes there, under a prefix."""

    @pytest.fixture(autouse=True)
    def _use_server(self, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(SETTING, postgres.uri("team"))

    def test_databases_are_made_there(self, home: Home, postgres: PostgresServer) -> None:
        assert is_external()
        assert check_server(home) is None
        create_databases(home)
        create_databases(home)
        for name in ("airflow", "mlflow", "flights"):
            assert database_uri(home, name) == postgres.uri(f"team_{name}")
            psycopg2.connect(database_uri(home, name)).close()

    def test_mlflow_is_set_up_once(self, home: Home) -> None:
        create_databases(home)
        environment = stack_environment(home)
        command = [sys.executable, "-m", "embedded.setup", "mlflow"]
        runs = [
            subprocess.run(
                command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=True, timeout=120
            )
            for _ in range(2)
        ]
        assert runs[0].stderr.strip().endswith("mlflow: set up")
        assert runs[1].stderr.strip().endswith("mlflow: nothing to do")

    def test_user_without_the_right_is_told_the_remedy(
        self, home: Home, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connection = psycopg2.connect(postgres.uri())
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CREATE ROLE poor LOGIN PASSWORD 'poor'")
        connection.close()
        monkeypatch.setenv(SETTING, f"postgresql://poor:poor@127.0.0.1:{postgres.port}/poor")
        with pytest.raises(
            SettingsError, match="may not create the database 'poor_airflow': create it, or grant CREATEDB"
        ):
            create_databases(home)

    def test_dead_server_is_told_without_its_password(self, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(SETTING, "postgresql://them:hidden@127.0.0.1:9/team")
        problem = check_server(home)
        assert problem is not None
        assert "hidden" not in problem

    @pytest.mark.parametrize(
        "uri",
        [
            "mysql://h/x",
            "postgresql:///x",
            "postgresql://h/A B",
            "nonsense",
            "postgresql://u:hid#den@h/x",
            "postgresql://u:hid%zz@h/x",
        ],
    )
    def test_wrong_address_is_refused(self, home: Home, monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
        monkeypatch.setenv(SETTING, uri)
        with pytest.raises(SettingsError, match="write postgresql://user:password@host:5432/prefix") as refusal:
            database_uri(home, "airflow")
        assert "hid" not in str(refusal.value)
