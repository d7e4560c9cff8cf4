"""An objective: weighted, possibly masked terms over a network's outputs, the batch and the discriminators' logits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from acutance.config.pipeline.columns import target_of
from acutance.config.pipeline.stage import Form
from acutance.errors import ConfigError
from acutance.losses.adversarial import Means
from acutance.losses.masks import Divisor
from acutance.losses.pixel import require_same_shape
from acutance.parts.protocols import Mask

Found = TypeVar("Found")
Value = tuple[Tensor, dict[str, Tensor]]
"""A scalar, and its parts by name."""


class Weighted(NamedTuple):
    """One term: its name in logs, the built term, the output or discriminator it is on, its weight and its mask."""

    name: str
    term: nn.Module
    on: str
    weight: float
    mask: Mask | None = None


class Logits(NamedTuple):
    """A discriminator's logits of a batch, its adversarial form, and perhaps means over all workers."""

    real: Tensor
    fake: Tensor
    form: Form
    means: Means | None = None


class Objective(nn.Module):
    """The weighted sum of terms.

    Args:
        terms: (name, term, on, weight) each, and a mask; names are unique.

    Raises:
        ConfigError: when there are none, or two of one name.
    """

    def __init__(
        self, terms: Iterable[tuple[str, nn.Module, str, float] | tuple[str, nn.Module, str, float, Mask | None]]
    ) -> None:
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
        logits: Mapping[str, Logits] | None = None,
        step: int = 0,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Evaluate every term.

        Args:
            outputs: the network's outputs by name.
            batch: columns by name; an output's target is `target_of` it.
            logits: by discriminator.
            step: counted from 0, for masks with a ramp.

        Returns:
            The weighted total, a scalar, and each term's value before weighting, detached; the parts of a term
            that has some as `TERM.PART`, and the mean of a mask as `TERM.mask`.

        Raises:
            ConfigError: naming the term and what it lacks.
        """
        found: list[Tensor] = []
        values: dict[str, Tensor] = {}
        for term in self.terms:
            whole, parts = _value(term, outputs, batch, logits or {}, step)
            found.append(term.weight * whole)
            values |= {term.name: whole, **{f"{term.name}.{name}": part for name, part in parts.items()}}
        return torch.stack(found).sum(), {name: value.detach() for name, value in values.items()}


def _value(
    term: Weighted, outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor], logits: Mapping[str, Logits], step: int
) -> Value:
    if term.term.reads == "logits":
        return _with_parts(term.term(*_find(term, "discriminator", term.on, logits)))
    prediction = _find(term, "output", term.on, outputs)
    target = _repeated(_find(term, "batch column", target_of(term.on), batch), prediction)
    if term.mask is None:
        return _with_parts(term.term(prediction, target))
    mask = _repeated(term.mask(prediction, target, batch, step), prediction)
    return _masked(term.term, prediction, target, mask, term.mask.divisor)


def _masked(term: nn.Module, prediction: Tensor, target: Tensor, mask: Tensor, divisor: Divisor) -> Value:
    """Return a loss of masked pictures; a mean over all values becomes a mean over those that the mask counts."""
    require_same_shape(mask.expand_as(prediction) if mask.shape[1] == 1 else mask, target)
    each = 1 if divisor == "image" else len(mask)
    found = []
    for m, p, t in zip(mask.split(each), prediction.split(each), target.split(each), strict=True):
        whole, parts = _with_parts(term(m * p, m * t))
        share = 1.0 if divisor == "none" else m.numel() / m.sum().clamp_min(1)
        found.append({"": share * whole, **parts, "mask": m.mean()})
    means = {name: torch.stack([one[name] for one in found]).mean() for name in found[0]}
    return means.pop(""), means


def _with_parts(value: Tensor | Value) -> Value:
    return value if isinstance(value, tuple) else (value, {})


def _repeated(target: Tensor, prediction: Tensor) -> Tensor:
    """Repeat the targets for a network that stacks several results for each picture on the batch axis."""
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
