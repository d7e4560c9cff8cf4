"""`acutance data fetch`: what it prints, and its exit codes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from acutance.weights import KNOWN
from command_line import Here
from file_server import serving

NAME = "niqe_pris_params.npz"
CONTENT = b"parameters" * 1000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's cache."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path


def known_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        KNOWN, NAME, replace(KNOWN[NAME], url=url, checksum=f"sha256:{hashlib.sha256(CONTENT).hexdigest()}")
    )


def test_weights_go_into_the_cache(here: Here, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = home / ".cache" / "acutance" / "weights" / NAME
    with serving() as server:
        server.files[f"/{NAME}"] = CONTENT
        known_at(f"{server.url}/{NAME}", monkeypatch)
        done = here("data", "fetch", NAME)
        assert (done.returncode, done.stdout) == (0, f"{file}\n"), done.stderr
        assert NAME in done.stderr
        assert file.read_bytes() == CONTENT
        again = here("data", "fetch", NAME, "--json")
        assert json.loads(again.stdout) == {"name": NAME, "place": str(file)}
        assert len(server.asked) == 1


def test_offline_is_the_users_to_mend(here: Here, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known_at(f"http://127.0.0.1:9/{NAME}", monkeypatch)
    done = here("data", "fetch", NAME)
    assert done.returncode == 2
    for words in (f"127.0.0.1:9/{NAME}", "BasicSR", str(home / ".cache" / "acutance" / "weights" / NAME)):
        assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((home / ".cache" / "acutance" / "weights").iterdir())


def test_a_data_set_that_may_not_be_downloaded_says_where_it_is(here: Here, tmp_path: Path) -> None:
    done = here("data", "fetch", "Urban100", ACUTANCE_DATA=str(tmp_path))
    assert done.returncode == 2
    assert "cv.snu.ac.kr" in done.stderr
    assert str(tmp_path / "benchmarks" / "Urban100") in done.stderr


def test_a_name_of_neither_and_no_folder_for_data(here: Here) -> None:
    done = here("data", "fetch", "niqe_pris_param.npz")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"did you mean '{NAME}'" in done.stderr
    done = here("data", "fetch", "DIV2K_valid")
    assert done.returncode == 2
    assert "ACUTANCE_DATA is not set" in done.stderr


def test_the_list_tells_what_the_pictures_are_for(here: Here, data_root: Path) -> None:
    done = here("data", "list", "--json", ACUTANCE_DATA=str(data_root))
    rows = {row["name"]: row for row in json.loads(done.stdout)["datasets"]}
    assert {name for name, row in rows.items() if row["kind"] == "scored"} == {"AVA", "TID2013"}
    assert {name for name, row in rows.items() if row["kind"] == "classified"} == {
        "CIFAR10",
        "CIFAR100",
        "CIFAR10_subset",
    }
    subset = rows["CIFAR10_subset"]
    assert (subset["present"], subset["pictures"]) == (True, 3261)
    assert (rows["Set5"]["kind"], rows["Set5"]["pictures"]) == ("pictures", 5)
    table = here("data", "list", ACUTANCE_DATA=str(data_root)).stdout
    assert next(line.split()[:4] for line in table.splitlines() if "CIFAR10_subset" in line) == [
        "CIFAR10_subset",
        "classified",
        "yes",
        "3261",
    ]


def test_scored_pictures_are_not_downloaded(here: Here, tmp_path: Path) -> None:
    done = here("data", "fetch", "TID2013", ACUTANCE_DATA=str(tmp_path))
    assert done.returncode == 2
    for words in ("there is no mos_with_names.txt", "www.ponomarenko.info", str(tmp_path / "TID2013")):
        assert words in done.stderr


def test_help_has_an_example_and_the_list_a_line_for_each(here: Here, tmp_path: Path) -> None:
    assert f"acutance data fetch {NAME}" in here("data", "fetch", "--help").stdout
    done = here("data", "list", "--json", ACUTANCE_DATA=str(tmp_path))
    absent = {row["name"]: row["where"] for row in json.loads(done.stdout)["datasets"] if not row["present"]}
    assert absent.keys() >= {"DIV2K_train", "REDS_val", "SIDD_train", "AVA", "TID2013", "CIFAR10", "CIFAR100"}
    assert all("\n" not in where and len(where) < len(str(tmp_path)) + 80 for where in absent.values())
