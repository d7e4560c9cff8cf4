from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from acutance.config.mistakes import validate
from acutance.config.overrides import load_yaml, override, parse_override
from acutance.config.schema import Choice, Seed, Strict
from acutance.errors import ConfigError
from acutance.parts.names import PARTS


def blur(picture: Any, *, sigma: float = 1.0, shape: Literal["box", "gaussian"] = "gaussian") -> Any:
    return picture, sigma, shape


def noise(picture: Any, *, sigma: float) -> Any:
    return picture, sigma


@pytest.fixture(autouse=True)
def _filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind of part with two names, which are defined above."""
    filters = {function.__name__: f"{__name__}:{function.__name__}" for function in (blur, noise)}
    monkeypatch.setitem(PARTS, "filter", filters)  # type: ignore[arg-type]


def named(picture: Any, *, kind: str = "soft") -> Any:
    return picture, kind


class FilterChoice(Choice):
    kind: ClassVar[str] = "filter"


class Settings(Strict):
    filters: list[FilterChoice]
    count: int = 1
    seed: Seed = 0


def test_a_choice_takes_the_parameters_of_its_callable() -> None:
    settings = validate(Settings, {"filters": [{"type": "blur", "sigma": 2}]}, "file.yaml")
    assert settings.filters[0].arguments() == {"sigma": 2.0, "shape": "gaussian"}


def test_a_parameter_that_has_the_name_of_what_every_choice_has_is_refused() -> None:
    """Of `kind: soft` the part would be looked for among the soft ones."""
    with pytest.raises(ConfigError, match="its parameter 'kind' has a name that its settings need"):
        validate(Settings, {"filters": [{"type": f"{__name__}:named"}]}, "file.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"filters": [{"type": "blur", "sigmo": 2}]},
            "filters.blur.sigmo: unknown key; did you mean 'sigma'?",
        ),
        ({"filters": [{"type": "blurr"}]}, "did you mean 'blur'?"),
        ({"filters": [], "cuont": 2}, "cuont: unknown key; did you mean 'count'?"),
        ({"filters": [{"type": "noise"}]}, "filters.noise.sigma: this key is missing"),
        (
            {"filters": [{"type": "noise", "sigma": "much"}]},
            "filters.noise.sigma: 'much' is not a number",
        ),
        ({"filters": [{"type": "blur", "shape": "round"}]}, "'box' or 'gaussian'"),
        ({}, "filters: this key is missing"),
        ({"filters": [], "count": 10**30}, "count: this number is out of range; whole numbers go to 2147483647"),
        ({"filters": [{"type": "blur", "sigma": -(10**400)}]}, "filters.blur.sigma: this number is out of range"),
        ({"filters": [], "seed": -1}, "seed: Input should be greater than or equal to 0"),
    ],
)
def test_mistakes_are_named_by_path_and_nearest_name(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Settings, content, "file.yaml")
    assert message in str(caught.value)
    assert "file.yaml" in str(caught.value)


def test_yaml_is_1_2(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("on: image\nrate: 1e-4\nsteps: 1_000_000\nmu: .inf\n")
    assert load_yaml(file) == {"on": "image", "rate": 1e-4, "steps": 1_000_000, "mu": float("inf")}


@pytest.mark.parametrize("text", ["a: [1, 2", "- 1\n- 2", "just words"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"a\.yaml"):
        load_yaml(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        load_yaml(tmp_path / "none.yaml")


def test_override_by_dotted_path_reaches_into_lists_by_name() -> None:
    content = {"stages": {"gan": {"objective": [{"name": "a", "weight": 1}, {"type": "pixel", "weight": 2}]}}}
    override(content, *parse_override("stages.gan.objective.pixel.weight=3e-1"))
    override(content, *parse_override("stages.gan.steps=10"))
    override(content, *parse_override("stages.gan.objective.a={type: x}"))
    assert content["stages"]["gan"] == {
        "objective": [{"type": "x"}, {"type": "pixel", "weight": 0.3}],
        "steps": 10,
    }


@pytest.mark.parametrize("text", ["steps", "=3", "a=[1"])
def test_an_override_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_override(text)


def test_a_star_stands_for_each_of_what_is_there() -> None:
    content: dict[str, Any] = {"stages": {"a": {"terms": [{"type": "x"}, {"name": "y"}]}, "b": {"terms": []}}}
    override(content, "stages.*.milestones", [5])
    override(content, "stages.*.terms.*.weight", 2)
    a, b = content["stages"].values()
    assert [term["weight"] for term in a["terms"]] == [2, 2]
    assert a["milestones"] == b["milestones"] == [5]
    a["milestones"].append(6)
    assert b["milestones"] == [5]


def test_an_override_of_an_unknown_item_or_through_a_value() -> None:
    with pytest.raises(ConfigError, match="did you mean 'pixel'"):
        override({"objective": [{"type": "pixel"}]}, "objective.pixl.weight", 1)
    with pytest.raises(ConfigError, match="no keys"):
        override({"steps": 3}, "steps.a.b", 1)


def test_an_override_changes_one_of_several_places_that_share_an_alias(tmp_path: Path) -> None:
    file = tmp_path / "shared.yaml"
    file.write_text("a: &both {rate: 1, list: [{name: x, v: 1}]}\nb: *both\n")
    content = load_yaml(file)
    override(content, "a.rate", 2)
    override(content, "a.list.x.v", 3)
    assert content == {
        "a": {"rate": 2, "list": [{"name": "x", "v": 3}]},
        "b": {"rate": 1, "list": [{"name": "x", "v": 1}]},
    }
