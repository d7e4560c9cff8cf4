"""What is trained on and judged by is told, by the content of the pictures."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from acutance.commands.context import open_pipeline, plan_summary
from acutance.commands.overlap import overlaps, trained_on
from acutance.commands.tune.context import open_campaign, plan_campaign
from acutance.data.datasets import Source
from acutance.data.pictures import write_picture
from acutance.training.shards import make_shards, shard_sets
from command_line import REPOSITORY

QUICKSTART = str(REPOSITORY / "pipelines" / "quickstart.yaml")


def test_pictures_are_known_by_their_content_not_their_names(tmp_path: Path) -> None:
    sources = []
    for number in range(3):
        write_picture(tmp_path / f"{number}.png", np.full((8, 8, 3), number, np.uint8))
        sources.append(Source(str(number), str(tmp_path / f"{number}.png")))
    trained = {hashlib.sha256((tmp_path / "1.png").read_bytes()).hexdigest(), "0"}
    measured = {"mine": sources, "others": sources[:1]}
    (told,) = overlaps(trained, measured, scale=4, root=str(tmp_path / "out"), by="evaluation")
    assert told == "trained on what it is judged by (evaluation): 1 of 3 pictures of mine, the first 1"


def test_a_model_is_known_by_its_shards(tmp_path: Path) -> None:
    write_picture(tmp_path / "in" / "a.png", np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8))
    work = open_pipeline(QUICKSTART, [f"data.train={tmp_path / 'in'}"], None, str(tmp_path))
    (shards,) = shard_sets(work.plans("fidelity"))
    make_shards(shards, work.catalogue, work.root, in_process=True)
    trained = trained_on({"dataset": shards.fingerprint}, work.root)
    assert trained == {hashlib.sha256((tmp_path / "in" / "a.png").read_bytes()).hexdigest()}
    assert trained_on({"dataset": "elsewhere"}, work.root) == trained_on({}, work.root) == set()


def test_a_campaign_says_what_its_trials_are_trained_on_and_judged_by(tmp_path: Path) -> None:
    file = str(REPOSITORY / "search_spaces" / "quickstart.yaml")
    changed = 'overrides={"data.train": photographs_heldout}'
    assert plan_campaign(open_campaign(file, [], str(tmp_path), None))["overlap"] == []
    told = plan_campaign(open_campaign(file, [changed], str(tmp_path), None))["overlap"]
    assert any("(objective): 3 of 3 pictures of photographs_heldout" in sentence for sentence in told)


def test_the_plan_says_what_is_trained_on_and_judged_by(tmp_path: Path) -> None:
    assert plan_summary(open_pipeline(QUICKSTART, [], None, str(tmp_path)))["overlap"] == []
    both = open_pipeline(QUICKSTART, ["data.train=photographs_heldout"], None, str(tmp_path))
    found = plan_summary(both)["overlap"]
    judges = ("evaluation", "validation of fidelity", "validation of gan")
    assert [sentence.partition(": ")[0] for sentence in found] == [
        f"trained on what it is judged by ({by})" for by in judges
    ]
    assert all("3 of 3 pictures of photographs_heldout" in sentence for sentence in found)
