"""Parts of installed packages: entry points, and the modules that a model file may name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from torch import nn

from acutance import parts
from acutance.errors import ConfigError, ModelError
from acutance.models.model_file import load_model, save_model
from acutance.parts import resolve, sources

CODE = """
from acutance.models.rrdbnet import RRDBNet

class Net(RRDBNet):
    pass
"""
SETTINGS = {"channels": 2, "blocks": 1, "scale": 2}

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a distribution of one module; with entry points of a group, `{name: module:attribute}`."""
    made: list[str] = []

    def clear() -> None:
        for function in (resolve._entry_points, resolve._installed, resolve._loaded, resolve._packages_of_parts):
            function.cache_clear()

    def make(distribution: str, module: str, *, code: str | None = CODE, **groups: dict[str, str]) -> None:
        site = tmp_path / distribution
        metadata = site / f"{distribution.replace('-', '_')}-1.2.dist-info"
        metadata.mkdir(parents=True)
        lines = [
            f"[acutance.{group}]\n" + "".join(f"{name} = {place}\n" for name, place in names.items())
            for group, names in groups.items()
        ]
        files = {
            "METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n",
            "entry_points.txt": "".join(lines),
            "top_level.txt": f"{module}\n",
        }
        for name, text in files.items():
            (metadata / name).write_text(text)
        if code is not None:
            (site / f"{module}.py").write_text(code)
        monkeypatch.syspath_prepend(str(site))
        made.append(module)
        clear()

    yield make
    for module in made:
        sys.modules.pop(module, None)
    monkeypatch.undo()
    clear()


def test_an_installed_package_adds_a_name(install: Install) -> None:
    install("paper-nets", "paper_nets", networks={"paper": "paper_nets:Net"})
    assert "paper" in parts.names("network")
    assert issubclass(parts.find("network", "paper"), nn.Module)
    assert parts.origin("network", "paper") == "paper-nets==1.2"


def test_a_name_of_two_packages_names_both(install: Install) -> None:
    install("one-nets", "one_nets", networks={"paper": "one_nets:Net"})
    install("two-nets", "two_nets", networks={"paper": "two_nets:Net", "rrdbnet": "two_nets:Net"})
    with pytest.raises(
        ConfigError, match=r"several packages offer the network 'paper': .*(one.*two|two.*one)"
    ) as error:
        parts.find("network", "paper")
    assert {"one_nets:Net", "two_nets:Net"} <= set(str(error.value.fix).removeprefix("write one of ").split(", "))
    with pytest.raises(ConfigError, match="Acutance, two-nets"):
        parts.find("network", "rrdbnet")


def test_a_package_that_is_not_installed_is_named(install: Install) -> None:
    install("paper-nets", "paper_nets", code=None, networks={"paper": "paper_nets:Net"})
    with pytest.raises(ConfigError, match="'paper' needs the package 'paper_nets', which is not installed here"):
        parts.find("network", "paper")


def model_of(name: str, folder: Path) -> str:
    network = parts.find("network", name)(**SETTINGS)
    file = str(folder / "model.safetensors")
    save_model(file, network, {"network": {"type": name, **SETTINGS}, "scale": 2})
    return file


def test_a_model_names_modules_of_packages_that_offer_parts(install: Install, tmp_path: Path) -> None:
    install("paper-nets", "paper_nets", networks={"paper": "paper_nets:Net"})
    for name in ("paper", "paper_nets:Net"):
        assert type(load_model(model_of(name, tmp_path))[0]).__name__ == "Net"


def test_a_model_names_no_other_module(install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install("plain-nets", "plain_nets")
    file = model_of("plain_nets:Net", tmp_path)
    monkeypatch.delenv(sources.CONSENT, raising=False)
    sys.modules.pop("plain_nets")
    resolve._loaded.cache_clear()
    with pytest.raises(ModelError, match=r"names code of the package 'plain_nets'.*plain_nets:Net") as error:
        load_model(file)
    assert "--allow-code" in str(error.value.fix)
    assert "plain_nets" not in sys.modules, "nothing of it was imported"
    monkeypatch.setenv(sources.CONSENT, "1")
    load_model(file)


def test_a_module_that_the_user_names_is_allowed(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("plain-nets", "plain_nets")
    file = model_of("plain_nets:Net", tmp_path)
    monkeypatch.delenv(sources.CONSENT, raising=False)
    monkeypatch.setattr(sources, "_packages", set())
    parts.with_sources({"network": {"type": "plain_nets:Net"}}, tmp_path)
    load_model(file)
