"""An objective: weighted terms over a network's outputs, the batch and the discriminators' logits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from acutance.errors import ConfigError
from acutance.losses.adversarial import Form, Means

Found = TypeVar("Found")
TARGETS = {"image": "hr", "detail": "hr_detail", "logits": "class"}


class Weighted(NamedTuple):
    """One term: its name in logs, the built term, the output or discriminator it is on, its weight."""

    name: str
    term: nn.Module
    on: str
    weight: float


class Judged(NamedTuple):
    """What a discriminator says of a batch, its adversarial form, and means of its own over all workers."""

    real: Tensor
    fake: Tensor
    form: Form
    means: Means | None = None


def target_of(output: str) -> str:
    """Return the batch column an output is compared with."""
    return TARGETS.get(output, output)


class Objective(nn.Module):
    """The weighted sum of terms.

    Args:
        terms: (name, term, on, weight) each; names are unique.

    Raises:
        ConfigError: when there are none, or two of one name.
    """

    def __init__(self, terms: Iterable[tuple[str, nn.Module, str, float]]) -> None:
        super().__init__()
        self.terms = tuple(Weighted(*term) for term in terms)
        self.modules_of_terms = nn.ModuleList(term.term for term in self.terms)
        names = [term.name for term in self.terms]
        if not names or len(set(names)) < len(names):
            raise ConfigError(
                f"an objective needs terms of different names, not {names}",
                where="objective",
                fix="name them",
            )

    def forward(
        self,
        outputs: Mapping[str, Tensor],
        batch: Mapping[str, Tensor],
        logits: Mapping[str, Judged] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Evaluate every term.

        Args:
            outputs: the network's outputs by name.
            batch: columns by name; an output's target is `target_of` it.
            logits: by discriminator.

        Returns:
            The weighted total, a scalar, and each term's value before weighting, detached; the parts of a term
            that has some as `TERM.PART`.

        Raises:
            ConfigError: naming the term and what it lacks.
        """
        found: list[Tensor] = []
        values: dict[str, Tensor] = {}
        for term in self.terms:
            value = _value(term, outputs, batch, logits or {})
            whole, parts = value if isinstance(value, tuple) else (value, {})
            found.append(term.weight * whole)
            values |= {term.name: whole, **{f"{term.name}.{name}": part for name, part in parts.items()}}
        return torch.stack(found).sum(), {name: value.detach() for name, value in values.items()}


def _value(
    term: Weighted,
    outputs: Mapping[str, Tensor],
    batch: Mapping[str, Tensor],
    logits: Mapping[str, Judged],
) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
    if term.term.reads == "logits":
        return term.term(*_find(term, "discriminator", term.on, logits))
    prediction = _find(term, "output", term.on, outputs)
    return term.term(prediction, _as_often(_find(term, "batch column", target_of(term.on), batch), prediction))


def _as_often(target: Tensor, prediction: Tensor) -> Tensor:
    """Repeat the targets for a network that restores each picture in several ways, one after another."""
    times = len(prediction) // len(target)
    return target if times == 1 else target.repeat(times, *[1] * (target.ndim - 1))


def _find(term: Weighted, kind: str, name: str, found: Mapping[str, Found]) -> Found:
    if name not in found:
        there = ", ".join(sorted(found)) or "none"
        raise ConfigError(
            f"the term {term.name!r} needs the {kind} {name!r}; there are: {there}",
            where=f"objective.{term.name}.on",
            fix="set its `on` to one of them",
        )
    return found[name]
