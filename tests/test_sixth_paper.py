"""A paper that the package does not know: two YAML files and one file of parts, outside of it, are all it takes."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from acutance import parts
from acutance.commands.check import check_named
from acutance.commands.context import PipelineContext, open_pipeline
from acutance.config import search_space
from acutance.config.metrics import AMOUNTS, MEASURES, METRICS, QUANTITIES
from acutance.data.prepare import prepare
from acutance.errors import ConfigError, ModelError
from acutance.evaluation.evaluate import evaluate_one
from acutance.imaging.derivations import derive_columns
from acutance.inference.inputs import derived_inputs
from acutance.inference.restore import restore
from acutance.models.model_file import build_network, describe_model, load_model
from acutance.parts.sources import unpacked
from acutance.registry.card import Facts, model_card
from acutance.registry.export import export_model
from acutance.training.loop import train_stage
from acutance.training.plan import plan_stages
from acutance.training.stage_plan import StagePlan

HERE = Path(__file__).with_name("sixth_paper")
LOADS = """
import os, sys
from acutance.errors import AcutanceError
from acutance.models.model_file import load_model
from acutance.parts.sources import CONSENT
model, *consents = sys.argv[1:]
for consent in consents:
    os.environ[CONSENT] = consent
    try:
        load_model(model)
        print("loaded")
    except AcutanceError as error:
        print(str(error).replace("\\n", " "))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[PipelineContext, StagePlan]:
    folder = tmp_path_factory.mktemp("six")
    paper = shutil.copytree(HERE, folder / "paper")
    work = open_pipeline(str(paper / "six.yaml"), ["stages.edges.steps=30"], None, str(folder / "out"))
    [plan] = plan_stages(work.pipeline, work.contents(), work.root)
    sent = pickle.loads(pickle.dumps(plan))  # as to a worker
    spec = sent.trained_on
    prepare(spec.settings, spec.scale, work.catalogue, work.root, in_process=True)
    train_stage(sent, device="cpu")
    return work, plan


@pytest.mark.parametrize("name", ["EdgeSR", "edges", "Charbonnier", "poisson", "psnr_red"])
def test_its_parts_pass_the_suite(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(HERE)
    _, results = check_named(f"./my_parts.py:{name}")
    assert results
    assert not [result for result in results if result.problem]


def test_it_is_measured_by_its_own_metric_and_learns(trained: tuple[PipelineContext, StagePlan]) -> None:
    work, plan = trained
    network, description = load_model(plan.model)
    assert work.pipeline.evaluate is not None
    metrics = work.pipeline.evaluate.metrics
    sources = {"photographs_heldout": work.catalogue.find("photographs_heldout", 2)[:1]}
    found = evaluate_one(network, description, sources, scale=2, protocol="y_crop4", metrics=metrics, candidate="edges")
    assert found.mean("edges", metrics[1], "photographs_heldout") > 20


def test_a_picture_alone_feeds_it(trained: tuple[PipelineContext, StagePlan]) -> None:
    _, plan = trained
    network, description = load_model(plan.model)
    picture = np.random.default_rng(0).integers(0, 256, (21, 30, 3), dtype=np.uint8)
    lr = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255
    [column] = [description["derive"]["lr_edges"]]
    edges = parts.find("derivation", column["type"])(lr, gain=2.0)
    assert torch.equal(derive_columns({"lr": lr}, derived_inputs(description))["lr_edges"], edges)
    with torch.no_grad():
        expected = network(lr, edges)["image"][0].permute(1, 2, 0).clamp(0, 1).numpy()
    assert np.abs(restore(network, description, picture)["image"] / 255 - expected).max() < 0.51 / 255


def test_its_onnx_graph_takes_the_picture_alone(trained: tuple[PipelineContext, StagePlan], tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    _, plan = trained
    export_model(plan.model, str(tmp_path / "six.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "six.onnx"), providers=["CPUExecutionProvider"])
    picture = np.random.default_rng(0).integers(0, 256, (17, 22, 3), dtype=np.uint8)
    given = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32) / 255
    [image] = session.run(None, {"picture": given})
    expected = restore(*load_model(plan.model), picture, rounded=False)["image"]
    np.testing.assert_allclose(image[0].transpose(1, 2, 0).clip(0, 1), expected, atol=1e-4)


def test_another_process_executes_its_code_only_when_it_may(trained: tuple[PipelineContext, StagePlan]) -> None:
    _, plan = trained
    [source] = describe_model(plan.model)["code"]
    command = [sys.executable, "-c", LOADS, plan.model, "", "0" * 64, source["sha256"]]
    refused, another, allowed = subprocess.check_output(command, text=True).splitlines()
    for told in (refused, another):
        assert f"my_parts.py (SHA-256 {source['sha256']})" in told
        assert "--allow-code" in told
    assert allowed == "loaded"


def test_the_card_names_whose_code_it_is(trained: tuple[PipelineContext, StagePlan]) -> None:
    _, plan = trained
    network, description = load_model(plan.model)
    card = model_card("edges-x2", network, description, Facts())
    assert f"my_parts.py, SHA-256 `{description['code'][0]['sha256']}`" in card
    assert "`lr_edges`, which it reads" in card


def test_code_that_was_changed_in_a_model_file_is_refused(trained: tuple[PipelineContext, StagePlan]) -> None:
    _, plan = trained
    [source] = describe_model(plan.model)["code"]
    with pytest.raises(ConfigError, match="not that of its checksum"):
        unpacked([{**source, "text": source["text"] + "\n"}], plan.model)
    other = parts.Source("other.py", "x = 1\n")
    with pytest.raises(ModelError, match="its author wrote"):
        unpacked([{"name": other.name, "text": other.text, "sha256": other.sha256}], plan.model)


def test_another_text_of_the_file_is_another_training(tmp_path: Path) -> None:
    paper = shutil.copytree(HERE, tmp_path / "paper")

    def fingerprint() -> str:
        work = open_pipeline(str(paper / "six.yaml"), [], None, str(tmp_path / "out"))
        return plan_stages(work.pipeline, work.contents(), work.root)[0].fingerprint

    first = fingerprint()
    assert fingerprint() == first
    (paper / "my_parts.py").write_text((HERE / "my_parts.py").read_text() + "# better\n")
    assert fingerprint() != first


@pytest.mark.parametrize("kind", ["os:system", "subprocess:Popen", "torch:save", "numpy:array"])
def test_a_model_file_reaches_for_no_function_of_another_module(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"standard library|no network|no type"):
        build_network({"type": kind})


def test_its_metric_is_a_metric_and_no_amount() -> None:
    [name] = parts.with_sources(["./my_parts.py:psnr_red"], HERE)
    assert METRICS[name].title == QUANTITIES[name].title == "PSNR-R"
    assert AMOUNTS.get(name) is MEASURES.get(name) is None


def test_its_numbers_are_searched(tmp_path: Path) -> None:
    paper = shutil.copytree(HERE, tmp_path / "paper")
    search: Any = pickle.loads(pickle.dumps(search_space.load(paper / "six_search.yaml")))
    values = search.campaign.placed({"network.width": 12, "derive.lr_edges.gain": 3.0})
    assert values == {"stages.edges.network.width": 12, "stages.edges.derive.lr_edges.gain": 3.0}
