"""The conformance suite: checks a part against the contract of its kind, for `acutance check` and for our own tests.

Each check is a function of a part and its settings that returns what is wrong, or nothing. The contracts are in
`parts.protocols`.
"""

from __future__ import annotations

import copy
import inspect
import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from acutance import parts
from acutance.config.data import DegradationChoice, DerivedColumn
from acutance.config.pipeline.stage import (
    DiscriminatorNetworkChoice,
    FeatureChoice,
    MaskChoice,
    NetworkChoice,
    OptimiserChoice,
    ScheduleChoice,
    TermChoice,
)
from acutance.config.schema import Choice
from acutance.errors import AcutanceError, ConfigError
from acutance.evaluation.metrics import Metric
from acutance.evaluation.unmeasurable import Unmeasurable
from acutance.models.model_file import load_model, save_model
from acutance.training.trained_module import TrainedModule

SIZE = (24, 32)
OTHER_SIZE = (35, 43)
"""Odd sides, which not every network with strides accepts."""

CHOICES: Mapping[str, type[Choice]] = {
    "network": NetworkChoice,
    "discriminator": DiscriminatorNetworkChoice,
    "feature_network": FeatureChoice,
    "loss": TermChoice,
    "mask": MaskChoice,
    "degradation": DegradationChoice,
    "derivation": DerivedColumn,
    "optimiser": OptimiserChoice,
    "schedule": ScheduleChoice,
}


class Result(NamedTuple):
    """One check: its title, and the problem it found, empty for none."""

    check: str
    problem: str


def check_part(kind: str, name: str, settings: Mapping[str, Any] | None = None) -> list[Result]:
    """Run all checks of a kind on a part.

    Args:
        kind: of `parts.names`.
        name: as a file would name it.
        settings: of the part; None for its defaults.

    Raises:
        ConfigError: when there is no such part, or its settings are wrong.
    """
    part = parts.find(kind, name)
    if kind == "metric":
        return [_tried(check, part) for check in CHECKS["metric"]]
    if kind not in CHECKS:
        raise ConfigError(f"there is no suite for the kind {kind!r}", fix=f"give one of {', '.join(CHECKS)}")
    needs = {"of": "lr"} if kind == "derivation" else {}
    try:
        choice = CHOICES[kind].chosen({"type": name, **needs, **(settings or {})})
    except ValueError as error:
        raise ConfigError(str(error).splitlines()[-1].strip(), where=name) from None
    return [_tried(check, choice) for check in CHECKS[kind]]


def check_named(
    name: str, settings: Mapping[str, Any] | None = None, kind: str | None = None
) -> tuple[str, list[Result]]:
    """Run the suite on a part: a known name, `package.module:Name`, or `./my_parts.py:Name`.

    Args:
        kind: None for the kind of the only part of this name, or for `kind_of` it.

    Returns:
        The kind, and the results.

    Raises:
        ConfigError: as `check_part`; or when several kinds have the name.
    """
    part: str = parts.with_sources(name, Path.cwd())
    if kind is None:
        kinds = [one for one in CHECKS if ":" not in part and part in parts.names(one)]
        if ":" not in part and len(kinds) != 1:
            fix = f"give --kind: {', '.join(kinds)}" if kinds else "name it as package.module:Name or ./file.py:Name"
            raise ConfigError(f"{len(kinds) or 'no'} parts are named {part!r}", fix=fix)
        kind = kinds[0] if kinds else kind_of(parts.find("network", part))
    return kind, check_part(kind, part, settings)


def kind_of(part: Any) -> str:
    """Return the kind of a class, function or record, as its attributes and parameters show it.

    Raises:
        ConfigError: when they fit no kind.
    """
    if isinstance(part, Metric):
        return "metric"
    if inspect.isclass(part) and issubclass(part, torch.optim.Optimizer):
        return "optimiser"
    if inspect.isclass(part) and issubclass(part, torch.optim.lr_scheduler.LRScheduler):
        return "schedule"
    if inspect.isclass(part) and issubclass(part, nn.Module):
        if hasattr(part, "inputs"):
            return "network"
        if hasattr(part, "features"):
            return "feature_network"
        return "loss" if hasattr(part, "reads") else "discriminator"
    if inspect.isclass(part) and "step" in inspect.signature(part.__call__).parameters:
        return "mask"
    if callable(part) and {"step", "learning_rate"} <= inspect.signature(part).parameters.keys():
        return "schedule"
    if callable(part):
        return "degradation" if "seed" in inspect.signature(part).parameters else "derivation"
    raise ConfigError("this is no part that Acutance knows", fix="give --kind; see docs/parts.md")


def _tried(check: Callable[[Any], str], subject: Any) -> Result:
    title = str(check.__doc__).splitlines()[0].rstrip(".")
    generator = torch.random.get_rng_state()
    torch.manual_seed(0)
    try:
        return Result(title, check(subject))
    except AcutanceError as error:
        return Result(title, error.what)
    except Exception as error:  # a part is anyone's code
        return Result(title, f"it fails: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    finally:
        torch.random.set_rng_state(generator)


def _pictures(count: int = 2, size: tuple[int, int] = SIZE, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(count + size[0]))


def _network(choice: NetworkChoice) -> nn.Module:
    network: nn.Module = choice.part(**choice.arguments())
    return network


def _fed(network: Any, count: int = 2, size: tuple[int, int] = SIZE) -> list[Tensor]:
    """Return columns for a network: pictures of three channels, or of one if it fails with three."""
    three = {name: _pictures(count, size) for name in network.inputs}
    derived = [name for name in network.inputs if name not in ("lr", "hr")]
    try:
        with torch.no_grad():
            network(*three.values())
    except RuntimeError:
        three |= {name: _pictures(count, size, 1) for name in derived}
    return list(three.values())


def _says_what_it_is(choice: NetworkChoice) -> str:
    """It has the attributes `inputs`, `outputs` and `scale`."""
    network = _network(choice)
    lacking = [name for name in ("inputs", "outputs", "scale") if not hasattr(network, name)]
    return f"it has no attribute {lacking[0]!r}" if lacking else ""


def _gives_its_outputs(choice: NetworkChoice) -> str:
    """Its forward pass returns the outputs in `outputs`, finite and of the right size."""
    network: Any = _network(choice).eval()
    found = network(*_fed(network))
    if not isinstance(found, dict):
        return f"forward returned {type(found).__name__}, not a dict of outputs by name"
    if lacking := [name for name in network.outputs if name not in found]:
        return f"it does not return {lacking[0]!r}, which `outputs` names"
    expected = (2, 3, *(side * network.scale for side in SIZE))
    if "image" in found and tuple(found["image"].shape) != expected:
        return f"image is {tuple(found['image'].shape)}, not {expected}"
    wrong = [name for name, output in found.items() if not bool(torch.isfinite(output).all())]
    return f"{wrong[0]} holds values that are not finite" if wrong else ""


def _takes_any_size(choice: NetworkChoice) -> str:
    """It takes pictures with sides of any length."""
    network: Any = _network(choice).eval()
    found = network(*_fed(network, size=OTHER_SIZE))
    sides = tuple(side * network.scale for side in OTHER_SIZE)
    right = "image" not in found or tuple(found["image"].shape[-2:]) == sides
    return "" if right else f"of {OTHER_SIZE} it makes {tuple(found['image'].shape[-2:])}, not {sides}"


def _keeps_pictures_apart(choice: NetworkChoice) -> str:
    """In eval mode a picture's result does not depend on its batch, and is the same twice."""
    network: Any = _network(choice).eval()
    columns = _fed(network)
    with torch.no_grad():
        both, again, alone = network(*columns), network(*columns), network(*(column[:1] for column in columns))
    for name, output in both.items():
        if not torch.equal(output, again[name]):
            return f"{name} differs from one call to the next"
        if not torch.allclose(output[:1], alone[name], atol=1e-4):
            return f"{name} of a picture depends on the other pictures of the batch"
    return ""


def _learns(choice: NetworkChoice) -> str:
    """Gradients of its outputs reach its weights."""
    network: Any = _network(choice).train()
    sum(output.float().square().mean() for output in network(*_fed(network)).values()).backward()
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    if not learning:
        return "it has no weights that learn"
    return "" if any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in learning) else "none does"


def _is_kept_in_a_file(choice: NetworkChoice) -> str:
    """Saved to a model file and loaded, it returns the same outputs."""
    network: Any = _network(choice).eval()
    columns = _fed(network)
    description = {"network": choice.model_dump(mode="json", exclude={"init"}), "scale": network.scale}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        file = str(Path(folder) / "model.safetensors")
        save_model(file, network, description)
        loaded, _ = load_model(file)
        before, after = network(*columns), loaded(*columns)
    wrong = [name for name in before if not torch.equal(before[name], after[name])]
    return f"{wrong[0]} differs after loading: it depends on more than parameters and buffers" if wrong else ""


def _gives_logits(choice: DiscriminatorNetworkChoice) -> str:
    """It returns logits of pictures, and a gradient with respect to them."""
    arguments = choice.arguments()
    size, channels = arguments.get("size", 64), arguments.get("in_channels", 3)
    side = (size, size) if isinstance(size, int) else tuple(size)
    pictures = _pictures(2, side, channels).requires_grad_()
    logits = choice.part(**arguments)(pictures)
    if logits.shape[:2] != (2, 1):
        return f"logits are {tuple(logits.shape)}, not (2, 1) or (2, 1, h, w)"
    logits.mean().backward()
    return "" if pictures.grad is not None and bool(torch.isfinite(pictures.grad).all()) else "there is no gradient"


def _has_features(choice: FeatureChoice) -> str:
    """It returns the features of each of its layers."""
    network = choice.part(**{**choice.arguments(), **({"weights": "none"} if "weights" in choice.parameters else {})})
    found = network.features(_pictures(1, (64, 64)), tuple(choice.part.layers))
    lacking = [layer for layer in choice.part.layers if layer not in found]
    return f"it has no features of {lacking[0]!r}" if lacking else ""


def _compared(choice: TermChoice) -> tuple[Tensor, Tensor]:
    """Return a prediction and a target for the output that a loss is `on`: pictures for all but two."""
    if choice.on == "logits":
        return torch.randn(2, 10), torch.tensor([[3], [7]])
    if choice.on == "distribution":
        return torch.rand(2, 10).softmax(1), torch.rand(2, 10).softmax(1)
    return _pictures(), _pictures().flip(-1)


def _loss_of(choice: TermChoice, prediction: Tensor, target: Tensor) -> Tensor:
    found = choice.part(**choice.arguments())(prediction, target)
    value: Tensor = found[0] if isinstance(found, tuple) else found
    return value


def _is_a_scalar(choice: TermChoice) -> str:
    """It returns a finite scalar with a gradient for the prediction and none for the target."""
    if choice.part.reads != "outputs" or choice.feature_taps():
        return ""
    prediction, target = _compared(choice)
    prediction.requires_grad_()
    if target.is_floating_point():
        target.requires_grad_()
    value = _loss_of(choice, prediction, target)
    if value.ndim or not bool(torch.isfinite(value)):
        return f"it returned {tuple(value.shape)}, not a finite scalar"
    value.backward()
    if prediction.grad is None or not bool(torch.isfinite(prediction.grad).all()):
        return "no finite gradient reaches the prediction"
    return "" if bool(prediction.grad.abs().sum() > 0) else "the gradient with respect to the prediction is 0"


def _is_least_where_equal(choice: TermChoice) -> str:
    """Its value for equal inputs is no greater than for different ones, and its gradient is finite."""
    if choice.part.reads != "outputs" or choice.feature_taps():
        return ""
    same, other = _compared(choice)
    if same.shape != other.shape:
        return ""  # logits and classes
    same.requires_grad_()
    value = _loss_of(choice, same, same.detach().clone())
    value.backward()
    if same.grad is not None and not bool(torch.isfinite(same.grad).all()):
        return "the gradient for equal inputs is not finite"
    return "" if value <= _loss_of(choice, same, other) else "different inputs have a smaller loss than equal ones"


def _is_a_share(choice: MaskChoice) -> str:
    """It returns values in 0..1 of a fitting shape, without a gradient."""
    prediction, target = _pictures().requires_grad_(), _pictures().flip(-1)
    batch = dict.fromkeys(choice.columns(), _pictures())
    mask = choice.part(**choice.arguments())(prediction, target, batch, 10)
    if mask.requires_grad:
        return "a gradient goes through it"
    if torch.broadcast_shapes(mask.shape, target.shape) != target.shape:
        return f"it is {tuple(mask.shape)}, which does not fit {tuple(target.shape)}"
    return "" if mask.min() >= 0 and mask.max() <= 1 else f"it reaches from {mask.min():g} to {mask.max():g}"


def _is_of_its_seed(choice: DegradationChoice) -> str:
    """Its randomness depends on the seed and on the picture's index in the batch alone."""
    picture = _pictures()
    arguments = choice.arguments()
    one, same, alone = (choice.part(given, seed=7, **arguments) for given in (picture, picture, picture[:1]))
    if not torch.equal(one, same):
        return "two calls with one seed differ"
    return "" if torch.equal(one[:1], alone) else "the first picture depends on the others of the batch"


def _degrades_pictures(choice: DegradationChoice) -> str:
    """It returns finite pictures of the same or the reduced size, and does not change its input."""
    picture = _pictures()
    before = picture.clone()
    found = choice.part(picture, seed=3, **choice.arguments())
    if not torch.equal(picture, before):
        return "it changes the picture that it is given"
    by = getattr(choice.part, "reduces_by", "")
    times = getattr(choice, by) if by else 1
    expected = (2, 3, *(-(-side // times) for side in SIZE))
    if tuple(found.shape) != expected:
        return f"of {tuple(picture.shape)} it makes {tuple(found.shape)}, not {expected}"
    return "" if bool(torch.isfinite(found).all()) else "it holds values that are not finite"


def _is_a_column(column: DerivedColumn) -> str:
    """It returns a column for each picture separately, and does not change its input."""
    from acutance.imaging.derivations import stored_values

    extra = len(_positional(column.part)) - 1
    given = [_pictures(), *(torch.rand(2, 2) for _ in range(extra))]
    before = [one.clone() for one in given]
    both, alone = stored_values(column, given), stored_values(column, [one[:1] for one in given])
    if not all(torch.equal(a, b) for a, b in zip(given, before, strict=True)):
        return "it changes what it is given"
    if both.ndim not in (2, 4) or len(both) != 2:
        return f"it returns {tuple(both.shape)}, not (B, C, H, W) and not (B, n)"
    if not torch.allclose(both[:1].double(), alone.double(), atol=1e-4):
        return "the column of a picture depends on the others of the batch"
    return "" if bool(torch.isfinite(both).all()) else "it holds values that are not finite"


def _lowers_a_loss(choice: OptimiserChoice) -> str:
    """It lowers a loss, and goes on from its saved state as if it had not stopped."""

    def steps(trained: TrainedModule, count: int) -> float:
        loss = torch.zeros(())
        for _ in range(count):
            trained.optimiser.zero_grad()
            loss = (trained.module(picture) - picture.mean()).square().mean()
            loss.backward()
            trained.update(choice.learning_rate, torch.ones(()))
        return float(loss.detach())

    picture = _pictures()
    layer = nn.Conv2d(3, 1, 3)
    whole, stopped, resumed = (TrainedModule(copy.deepcopy(layer), choice) for _ in range(3))
    first, last = steps(whole, 1), steps(whole, 9)
    steps(stopped, 5)
    resumed.module.load_state_dict(stopped.module.state_dict())
    resumed.optimiser.load_state_dict(copy.deepcopy(stopped.optimiser.state_dict()))
    steps(resumed, 5)
    if not all(torch.equal(a, b) for a, b in zip(whole.weights, resumed.weights, strict=True)):
        return "after its state was saved and loaded, it takes other steps"
    return "" if last < first else f"ten steps at {choice.learning_rate:g} change the loss from {first:g} to {last:g}"


def _is_a_schedule(choice: ScheduleChoice) -> str:
    """It returns a learning rate of 0 or more for every step, whatever was asked before."""
    rates = [choice.rate(step, 1e-3, 100) for step in range(100)]
    if bad := [step for step, rate in enumerate(rates) if not (math.isfinite(rate) and rate >= 0)]:
        return f"the learning rate of step {bad[0]} is {rates[bad[0]]:g}"
    again = [choice.rate(step, 1e-3, 100) for step in reversed(range(100))]
    return "" if again[::-1] == rates else "asked again, it returns another learning rate"


def _positional(function: Callable[..., Any]) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [name for name, one in inspect.signature(function).parameters.items() if one.kind in kinds]


def _measures(metric: Metric) -> str:
    """It measures pictures, and equal pictures are no worse than different ones."""
    side = 208  # NIQE needs two blocks of 96 pixels and a margin
    truth = (255 * np.random.default_rng(0).random((side, side, 3))).astype(np.uint8)
    other = np.ascontiguousarray(truth[::-1])
    seen = [one[..., 1].astype(np.float64) if metric.on == "plane" else one for one in (truth, other)]
    if not metric.needs_truth:
        value = metric.function(seen[0])
        return "" if isinstance(value, float) else f"it returned {type(value).__name__}, not a float"
    try:
        equal = metric.function(seen[0], seen[0])
    except Unmeasurable:
        return ""  # such as the infinite PSNR of equal pictures
    different = metric.function(seen[1], seen[0])
    better = equal >= different if metric.goal == "maximize" else equal <= different
    return "" if better else f"equal pictures score {equal:g}, different ones {different:g}"


CHECKS: Mapping[str, tuple[Callable[[Any], str], ...]] = {
    "network": (
        _says_what_it_is, _gives_its_outputs, _takes_any_size, _keeps_pictures_apart, _learns, _is_kept_in_a_file,
    ),
    "discriminator": (_gives_logits,),
    "feature_network": (_has_features,),
    "loss": (_is_a_scalar, _is_least_where_equal),
    "mask": (_is_a_share,),
    "degradation": (_is_of_its_seed, _degrades_pictures),
    "derivation": (_is_a_column,),
    "optimiser": (_lowers_a_loss,),
    "schedule": (_is_a_schedule,),
    "metric": (_measures,),
}  # fmt: skip
