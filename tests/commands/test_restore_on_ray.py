"""Folders and s3:// prefixes as Ray Data jobs: what is written, what is resumed, and who may die."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from acutance import storage
from acutance.commands.restore import ATTEMPTS, _restored, restore_pictures
from acutance.inference.picture_file import open_restorer, read_model, restore_file
from acutance.models.model_file import save_model
from acutance.models.rrdbnet import RRDBNet
from command_line import REPOSITORY, environment
from made_buckets import opened
from process_family import alive, family

pytestmark = pytest.mark.e2e

RNG = np.random.default_rng(0)
WORKING = "ray::Map(_restore_row)"
"""What a process is called while it restores a picture."""


@pytest.fixture(scope="module")
def album(s3_server: Any) -> Iterator[str]:
    """A bucket."""
    with pytest.MonkeyPatch.context() as patch, opened(s3_server, patch) as bucket:
        yield bucket.uri


def compute_on_the_cpu() -> None:
    """The GPU is one in name only, and who is given one and sees none refuses to work."""
    from acutance.cluster import hardware

    hardware.device_of = lambda gpus: "cpu"


@pytest.fixture(scope="module")
def own_cluster(shared_ray: ExitStack, album: str) -> Iterator[None]:
    """One Ray with a GPU in name, so that actors take the pictures."""
    import ray
    from ray import cloudpickle

    shared_ray.close()
    options = {"include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False}
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    hook = {"worker_process_setup_hook": compute_on_the_cpu}
    ray.init(address="local", num_cpus=2, num_gpus=1, runtime_env=hook, **options)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("model") / "m.safetensors")
    description = {"network": {"type": "rrdbnet", "blocks": 1, "channels": 4}, "scale": 4}
    save_model(path, RRDBNet(blocks=1, channels=4), description)
    return path


def encoded(height: int, width: int, mode: str = "RGB", form: str = "PNG") -> bytes:
    pixels = RNG.integers(0, 256, (height, width, 4), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, format=form)
    return file.getvalue()


@pytest.mark.long
@pytest.mark.usefixtures("own_cluster")
def test_actors_on_gpus_restore_a_prefix(album: str, model: str, tmp_path: Path) -> None:
    check_prefix(album, model, tmp_path)


@pytest.mark.usefixtures("cluster")
def test_a_prefix_on_s3_to_another_one(album: str, model: str, tmp_path: Path) -> None:
    check_prefix(album, model, tmp_path)


def check_prefix(album: str, model: str, tmp_path: Path) -> None:
    """Restore a prefix twice; check what is written, and kept the second time."""
    files = {
        "in/a.png": encoded(30, 40),
        "in/a.jpg": encoded(20, 20, form="JPEG"),
        "in/grey.webp": encoded(16, 30, "RGB", "WEBP"),
        "in/deep er/b.PNG": encoded(10, 9, "L"),
        "in/deep er/c.png": encoded(12, 12, "RGBA"),
    }
    bad = {"in/bad.png": b"no picture", "in/cut.png": encoded(30, 40)[:-500]}
    for key, content in {**files, **bad, "in/notes.txt": b"text", "in/.hidden.png": b"", "input.png": b""}.items():
        storage.write_bytes(f"{album}/{key}", content)
    first, again = (
        {outcome.source: outcome for outcome in restore_pictures(model, f"{album}/in", f"{album}/out/")}
        for _ in range(2)
    )
    assert first.keys() == {f"{album}/{key}" for key in [*files, *bad]}
    restorer = open_restorer(*read_model(model))
    for key, content in files.items():
        outcome = first[f"{album}/{key}"]
        assert (outcome.state, again[f"{album}/{key}"].state) == ("written", "kept")
        (tmp_path / "small").write_bytes(content)
        restore_file(restorer, str(tmp_path / "small"), str(tmp_path / "large.png"))
        assert storage.read_bytes(outcome.target) == (tmp_path / "large.png").read_bytes()
    assert {Path(first[f"{album}/{key}"].target).name for key in files} == {
        "a.png.png", "a.jpg.png", "grey.png", "b.png", "c.png",
    }  # fmt: skip
    for key in bad:
        assert first[f"{album}/{key}"].state == again[f"{album}/{key}"].state == "failed"
        assert not storage.exists(first[f"{album}/{key}"].target)


@pytest.mark.long
@pytest.mark.usefixtures("own_cluster")
def test_a_job_that_is_killed_goes_on_where_it_was(model: str, tmp_path: Path) -> None:
    for number in range(8):
        storage.write_bytes(str(tmp_path / "in" / f"{number}.png"), encoded(200, 300))
    command = [sys.executable, "-m", "acutance", "restore", model, str(tmp_path / "in"), str(tmp_path / "out")]
    job = subprocess.Popen(command, cwd=REPOSITORY, env=environment(), stderr=subprocess.DEVNULL)
    while len(list((tmp_path / "out").glob("[0-9].png"))) < 2:
        assert job.poll() is None
        time.sleep(0.05)
    started = family(job.pid)
    job.kill()
    job.wait()
    limit = time.monotonic() + 60
    while alive(started) and time.monotonic() < limit:
        time.sleep(0.1)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("[0-9].png")}
    assert 2 <= len(before) < 8
    outcomes = restore_pictures(model, str(tmp_path / "in"), str(tmp_path / "out"), address="local")
    assert {Path(outcome.target).name for outcome in outcomes if outcome.state == "kept"} == before.keys()
    assert sum(outcome.state == "written" for outcome in outcomes) == 8 - len(before)
    for path in (tmp_path / "out").glob("[0-9].png"):
        assert before.get(path.name, path.stat().st_mtime_ns) == path.stat().st_mtime_ns
        assert Image.open(path).size == (1200, 800)


@pytest.mark.long
@pytest.mark.usefixtures("own_cluster")
def test_a_picture_that_kills_who_works_on_it_is_given_up_and_no_other(model: str, tmp_path: Path) -> None:
    for name in "bc":
        storage.write_bytes(str(tmp_path / f"{name}.png"), encoded(20, 20))
    deadly = tmp_path / "a.png"
    os.mkfifo(deadly)  # whoever reads it waits for a writer, and dies of it
    pairs = [(str(tmp_path / f"{name}.png"), str(tmp_path / "out" / f"{name}.png")) for name in "cba"]
    done: set[str] = set()
    killed: list[int] = []
    stop = threading.Event()
    hunter = threading.Thread(target=lambda: killed.extend(_hunt(deadly, WORKING, done, stop)))
    hunter.start()
    try:
        outcomes = [*_restored(pairs, read_model(model), False, lambda _, name: done.add(name))]
    finally:
        stop.set()
        hunter.join()
    states = {Path(outcome.source).name: (outcome.state, outcome.why) for outcome in outcomes}
    assert states["b.png"] == states["c.png"] == ("written", "")
    assert states["a.png"][0] == "failed"
    assert "died" in states["a.png"][1]
    assert len(killed) == ATTEMPTS
    assert not (tmp_path / "out" / "a.png").exists()


def _hunt(deadly: Path, work: str, done: set[str], stop: threading.Event) -> Iterator[int]:
    """Kill whoever reads a pipe, once nobody is at work on the other pictures."""
    while not stop.is_set():
        time.sleep(0.05)
        at_work = [pid for pid, name in family(os.getpid()).items() if name.startswith(work)]
        for pid in at_work if done >= {"b.png", "c.png"} else ():
            os.kill(pid, signal.SIGSTOP)  # or it would go on as soon as there is a writer
            if _is_read(deadly):
                os.kill(pid, signal.SIGKILL)
                yield pid
            else:
                os.kill(pid, signal.SIGCONT)


def _is_read(pipe: Path) -> bool:
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
