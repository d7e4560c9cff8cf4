"""The servers beside Ray: Postgres, an S3 endpoint, MLflow's, with the settings of infra/compose.yaml."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy
from cluster_up_process import Host, answers, free_port, process, wait_for

INFRA = Path(__file__).resolve().parents[2] / "infra"


def postgres_folder() -> Path | None:
    """Return the folder of Postgres' programs: Debian keeps them off the PATH."""
    found = shutil.which("initdb") or next(iter(sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))[::-1]), None)
    return Path(found).resolve().parent if found else None


def unprivileged() -> str | None:
    """Return who Postgres may run as; as root it refuses to."""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("postgres", "nobody") if name in known), None)


@contextmanager
def postgres(folder: Path, host: Host, password: str, studies: str) -> Iterator[tuple[str, str]]:
    """Start Postgres with passwords (SCRAM); give the addresses of MLflow's database and, for jobs, of the studies'."""
    programs, user, port = postgres_folder(), unprivileged() if os.getuid() == 0 else None, free_port()
    assert programs
    folder.mkdir()
    (folder / "password").write_text(password)
    if user:
        for path in (folder, folder / "password"):
            shutil.chown(path, user)
    made = ["--auth=scram-sha-256", "--username=acutance", f"--pwfile={folder}/password", "--no-sync"]
    subprocess.run([programs / "initdb", *made, folder / "data"], check=True, capture_output=True, user=user, cwd="/")
    (folder / "password").unlink()
    with open(folder / "data" / "pg_hba.conf", "a") as rules:
        rules.write("host all all samenet scram-sha-256\n")  # the hosts around this one
    settings = [f"listen_addresses={host.address}", f"port={port}", f"unix_socket_directories={folder}", "fsync=off"]
    options = [word for setting in settings for word in ("-c", setting)]
    place = f"{host.address}:{port}"
    address = f"postgresql+psycopg2://acutance:{password}@{place}"
    command = [str(programs / "postgres"), "-D", str(folder / "data"), *options]
    with process(command, folder.parent / "postgres.log", host, {}, user):
        wait_for(lambda: _made(address, "mlflow"), "Postgres")
        psql = [programs / "psql", "-v", "ON_ERROR_STOP=1", "-f", INFRA / "databases.sql"]
        known = {**os.environ, "PGPASSWORD": password, "STUDIES_PASSWORD": studies}
        subprocess.run([*psql, f"postgresql://acutance@{place}/mlflow"], check=True, capture_output=True, env=known)
        yield f"{address}/mlflow", f"postgresql+psycopg2://studies:{studies}@{place}/studies"


def _made(address: str, name: str) -> bool:
    """Make a database; tell whether the server is up."""
    engine = sqlalchemy.create_engine(f"{address}/postgres", isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    except sqlalchemy.exc.OperationalError:
        return False
    finally:
        engine.dispose()
    return True


@contextmanager
def s3(folder: Path, host: Host, keys: dict[str, str]) -> Iterator[str]:
    """Start the S3 endpoint and make its buckets, with infra's own script."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "--host", host.address, "--port", str(port)]
    endpoint = f"http://{host.address}:{port}"
    with process(command, folder / "s3.log", host, {}):
        wait_for(lambda: answers(endpoint), "the S3 endpoint")
        subprocess.run(
            [sys.executable, INFRA / "make_buckets.py", "acutance", "mlflow"],
            check=True,
            env={**os.environ, "AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": "us-east-1", **keys},
        )
        yield endpoint


@contextmanager
def mlflow(
    folder: Path, host: Host, database: str, store: str, aws: dict[str, str], keys: dict[str, str]
) -> Iterator[str]:
    port = free_port()
    environment = {
        **aws,
        "AWS_DEFAULT_REGION": "us-east-1",
        "MLFLOW_BACKEND_STORE_URI": database,
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow/artifacts",
        "MLFLOW_S3_ENDPOINT_URL": store,
        "MLFLOW_AUTH_ADMIN_USERNAME": "acutance",
        "MLFLOW_AUTH_ADMIN_PASSWORD": keys["mlflow"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": keys["flask"],
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    options = ["--app-name=basic-auth", f"--host={host.address}", f"--port={port}", "--workers=1"]
    address = f"http://{host.address}:{port}"
    command = [sys.executable, "-m", "mlflow", "server", *options, f"--allowed-hosts={host.address}:{port}"]
    with process(command, folder / "mlflow.log", host, environment):
        wait_for(lambda: answers(f"{address}/health"), "MLflow's server")
        administrator = {"MLFLOW_TRACKING_USERNAME": "acutance", "MLFLOW_TRACKING_PASSWORD": keys["mlflow"]}
        subprocess.run(
            [sys.executable, INFRA / "make_accounts.py", "jobs"],
            check=True,
            env={**os.environ, **administrator, "MLFLOW_TRACKING_URI": address, "JOBS_PASSWORD": keys["jobs"]},
        )
        yield address
