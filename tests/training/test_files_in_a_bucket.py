"""What a stage starts from, and what it is measured on, may lie in an object store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from acutance import storage
from acutance.commands.context import PipelineContext
from acutance.commands.evaluate import picture_checksums
from acutance.commands.model_names import model_file
from acutance.config.mistakes import validate
from acutance.config.pipeline import Pipeline
from acutance.data.datasets import Catalogue
from acutance.data.pictures import write_picture
from acutance.evaluation.pictures import measured_pictures, read_pair
from acutance.models.model_file import save_model
from acutance.models.rrdbnet import RRDBNet
from acutance.training.build import build_learner
from acutance.training.plan import plan_stages
from made_buckets import Bucket

SIZES = {"blocks": 1, "channels": 4, "growth": 4}


def test_a_stage_starts_from_a_model_in_a_bucket(bucket: Bucket, tmp_path: Path) -> None:
    torch.manual_seed(5)
    donor, file = RRDBNet(**SIZES), f"{bucket.uri}/models/donor.safetensors"
    save_model(file, donor, {"network": {"type": "rrdbnet", **SIZES}, "scale": 4})
    write_picture(tmp_path / "pictures" / "a.png", np.zeros((40, 40, 3), np.uint8))
    stage = {"network": {"type": "rrdbnet", **SIZES, "init": {".": file}}, "objective": [{"type": "pixel"}]}
    stage |= {"steps": 1, "batch": 1, "patch": 32}
    data = {"train": str(tmp_path / "pictures"), "subimages": {"size": 32, "stride": 8}}
    pipeline = validate(Pipeline, {"title": "a test", "data": data, "stages": {"tuned": stage}}, "a test")
    work = PipelineContext(Path("test.yaml"), pipeline, Catalogue({}, ""), str(tmp_path / "out"))
    [job] = plan_stages(pipeline, work.contents(), work.root)
    learner = build_learner(job, "cpu")
    assert all(
        torch.equal(ours, theirs)
        for ours, theirs in zip(learner.final_network.parameters(), donor.parameters(), strict=True)
    )
    assert model_file(file, work.root) == file


def test_models_are_measured_on_pictures_in_a_bucket(bucket: Bucket, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    for root in (bucket.uri, str(tmp_path)):
        write_picture(f"{root}/held out/a.png", pixels)
    found = {
        root: measured_pictures(Catalogue({}, ""), [f"{root}/held out"], 4, "y_crop4")[f"{root}/held out"]
        for root in (bucket.uri, str(tmp_path))
    }
    lr, truth = read_pair(found[bucket.uri][0], 4)
    assert np.array_equal(truth, pixels)
    assert lr.shape == (5, 6, 3)
    out = str(tmp_path / "out")
    assert picture_checksums(found[bucket.uri], 4, out, "a") == picture_checksums(found[str(tmp_path)], 4, out, "b")
    assert storage.files(bucket.uri) == [found[bucket.uri][0].path]
