"""The stream is a pure function of (shards, key, step), and cuts every column at the same place."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from acutance.data.stream import Stream, key_of
from acutance.errors import ConfigError

ROWS, SIZE, SCALE = 7, 48, 4
DIVISORS = {"hr": 1, "lr": 4, "hr_detail": 1, "lr_detail": 4}
CODINGS = {"hr": "pixels", "lr": "pixels", "hr_detail": "log2", "lr_detail": "log2"}


def coordinates() -> dict[str, np.ndarray]:
    """Return columns whose pixels say where they are: (row, LR y, LR x) in every column."""
    y, x = np.mgrid[: SIZE // SCALE, : SIZE // SCALE]
    lr = np.stack([np.stack([np.full_like(y, row), y, x], axis=-1) for row in range(ROWS)]).astype(np.uint8)
    hr = lr.repeat(SCALE, 1).repeat(SCALE, 2)

    def code(column: np.ndarray) -> np.ndarray:
        return ((column @ np.array([144, 12, 1])) / 256)[..., None].astype(np.float16)

    return {"hr": hr, "lr": lr, "hr_detail": code(hr), "lr_detail": code(lr)}


def stream(columns: dict[str, np.ndarray] | None = None, **changes: object) -> Stream:
    columns = coordinates() if columns is None else columns
    options = {"codings": CODINGS, "patch": 32, "batch": 12, "key": 5, **changes}
    return Stream(columns, divisors={name: DIVISORS[name] for name in columns}, **options)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


def test_a_batch_is_what_networks_take() -> None:
    batch = stream().batch(0)
    assert {name: tuple(t.shape) for name, t in batch.items()} == {
        "hr": (12, 3, 32, 32),
        "lr": (12, 3, 8, 8),
        "hr_detail": (12, 1, 32, 32),
        "lr_detail": (12, 1, 8, 8),
    }
    assert all(t.dtype == torch.float32 and t.is_contiguous() for t in batch.values())
    assert batch["hr"].min() >= 0
    assert batch["hr"].max() <= 1


@pytest.mark.parametrize("world", [1, 2, 3, 4, 6, 12])
def test_the_workers_together_see_one_batch(world: int) -> None:
    whole = stream().batch(9)
    shares = [stream().batch(9, rank, world) for rank in range(world)]
    assert same({name: torch.cat([share[name] for share in shares]) for name in whole}, whole)


def test_the_order_of_asking_does_not_matter() -> None:
    one, other = stream(), stream()
    forwards = [one.batch(step) for step in range(20)]
    backwards = [other.batch(step) for step in reversed(range(20))][::-1]
    assert all(same(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert same(stream().batch(19), forwards[19])


def test_another_key_or_step_gives_other_samples() -> None:
    first = stream().batch(0)
    assert not same(first, stream(key=6).batch(0))
    assert not same(first, stream().batch(1))
    assert not same(first, stream(batch=12, key=2**63).batch(0))


def test_asking_for_fewer_columns_changes_nothing() -> None:
    columns = coordinates()
    fewer = stream({"lr_detail": columns["lr_detail"], "hr": columns["hr"]}).batch(3)
    whole = stream().batch(3)
    assert all(torch.equal(fewer[name], whole[name]) for name in fewer)


def test_every_column_is_cut_and_turned_alike() -> None:
    """Each HR pixel carries the place of its LR pixel, so the HR patch must be the LR patch, repeated."""
    for step in range(10):
        batch = stream().batch(step)
        lr = (batch["lr"] * 255).round()
        assert torch.equal(lr.repeat_interleave(SCALE, 2).repeat_interleave(SCALE, 3), (batch["hr"] * 255).round())
        code = (lr * torch.tensor([144.0, 12.0, 1.0])[:, None, None]).sum(1, keepdim=True) / 256
        assert torch.equal(batch["lr_detail"], torch.exp2(code.to(torch.float64)).float())
        assert torch.equal(
            batch["lr_detail"].repeat_interleave(SCALE, 2).repeat_interleave(SCALE, 3), batch["hr_detail"]
        )


def test_an_epoch_shows_every_row_once() -> None:
    one = stream(batch=ROWS)
    for epoch in range(3):
        rows = (one.batch(epoch)["lr"][:, 0, 0, 0] * 255).round().int().tolist()
        assert sorted(rows) == list(range(ROWS))
    orders = [tuple((one.batch(e)["lr"][:, 0, 0, 0] * 255).round().int().tolist()) for e in range(6)]
    assert len(set(orders)) > 3


def test_a_batch_may_span_epochs() -> None:
    rows = (stream(batch=3 * ROWS).batch(1)["lr"][:, 0, 0, 0] * 255).round().int().tolist()
    assert set(Counter(rows).values()) == {3}


def test_crops_and_turns_are_spread_evenly() -> None:
    one = stream(batch=600, patch=40)  # 3 x 3 places
    lr = (one.batch(0)["lr"] * 255).round().int()
    places = Counter(zip(lr[:, 1].amin((1, 2)).tolist(), lr[:, 2].amin((1, 2)).tolist(), strict=True))
    assert len(places) == 9
    assert all(40 <= count <= 95 for count in places.values())  # 67 expected, sigma 7.7
    down, right = lr[:, :, 1, 0] - lr[:, :, 0, 0], lr[:, :, 0, 1] - lr[:, :, 0, 0]
    turns = Counter((*d[1:].tolist(), *r[1:].tolist()) for d, r in zip(down, right, strict=True))
    assert len(turns) == 8
    assert all(45 <= count <= 108 for count in turns.values())  # 75 expected, sigma 8.1


def test_without_augmentation_the_same_patches_stand_upright() -> None:
    plain, turned = stream(augment="none").batch(2), stream().batch(2)
    lr = (plain["lr"] * 255).round()
    assert (lr[:, 1].diff(dim=1) == 1).all()
    assert (lr[:, 2].diff(dim=2) == 1).all()
    assert torch.equal(plain["hr"].flatten(1).sort().values, turned["hr"].flatten(1).sort().values)


def test_values_are_converted_exactly() -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    logs = np.linspace(-8, 8, 256).astype(np.float16).reshape(1, 16, 16, 1)
    columns = {"hr": pixels, "hr_detail": logs}
    batch = stream(columns, patch=16, batch=1, augment="none").batch(0)
    assert np.array_equal(batch["hr"][0, 0].numpy(), pixels[0, ..., 0] / np.float32(255))
    expected = np.exp2(logs[0, ..., 0].astype(np.float64)).astype(np.float32)
    assert np.array_equal(batch["hr_detail"][0, 0].numpy(), expected)


def test_differences_come_as_they_are_stored() -> None:
    differences = np.linspace(-1, 1, 768).astype(np.float16).reshape(1, 16, 16, 3)
    columns, codings = {"hr_detail": differences}, {"hr_detail": "value"}
    batch = stream(columns, codings=codings, patch=16, batch=1, augment="none").batch(0)
    assert batch["hr_detail"].dtype == torch.float32
    assert np.array_equal(batch["hr_detail"][0].permute(1, 2, 0).numpy(), differences[0].astype(np.float32))


def test_the_stream_is_the_same_in_every_version() -> None:
    """Golden places: a change here would make old runs resume with other samples."""
    lr = (stream(batch=6, patch=16).batch(1000)["lr"] * 255).round().int()
    assert lr[:, :, 0, 0].tolist() == [[2, 5, 7], [1, 5, 7], [5, 10, 11], [4, 5, 0], [6, 11, 2], [3, 3, 5]]


def test_patches_begin_where_a_pixel_of_every_column_begins() -> None:
    """Without LR that is every pixel."""
    hr = np.arange(SIZE, dtype=np.uint8)[None, None, :, None].repeat(SIZE, 1).repeat(3, 3)
    columns = {"hr": hr, "lr": hr[:, ::4, ::4], "lr_x6": hr[:, ::6, ::6]}
    for names, step in ((["hr"], 1), (["hr", "lr"], 4), (["hr", "lr", "lr_x6"], 12)):
        kinds = {"divisors": {"hr": 1, "lr": 4, "lr_x6": 6}, "codings": dict.fromkeys(columns, "pixels")}
        some = Stream({n: columns[n] for n in names}, **kinds, patch=24, batch=400, key=5, augment="none").batch(0)
        assert set((255 * some["hr"][:, 0, 0, 0]).round().int().tolist()) == set(range(0, 25, step))


def test_a_patch_of_two_sides_lies_anywhere_and_is_flipped_not_turned() -> None:
    y, x = np.mgrid[:24, :40].astype(np.uint8)
    hr = np.stack([y, x, np.zeros_like(x)], axis=-1)[None]
    columns = {"hr": hr, "lr": hr[:, ::4, ::4]}
    kinds = {"divisors": {"hr": 1, "lr": 4}, "codings": dict.fromkeys(columns, "pixels"), "key": 5}
    batch = Stream(columns, **kinds, patch=(16, 32), batch=200, augment="flips").batch(0)
    hr, lr = ((255 * batch[name]).round().int() for name in ("hr", "lr"))
    assert (hr.shape, lr.shape) == ((200, 3, 16, 32), (200, 3, 4, 8))
    corners = [hr[:, channel].amin((1, 2)).tolist() for channel in (0, 1)]
    assert set(zip(*corners, strict=True)) == {(top, left) for top in (0, 4, 8) for left in (0, 4, 8)}
    assert {int(step) for step in hr[:, 0, 1, 0] - hr[:, 0, 0, 0]} == {1, -1}
    assert torch.equal(lr.amin((2, 3)), hr.amin((2, 3)))
    with pytest.raises(ConfigError, match=r"patch \[16, 32\] cannot be turned"):
        Stream(columns, **kinds, patch=(16, 32), batch=2)
    with pytest.raises(ConfigError, match=r"patch \[32, 16\] is larger than the sub-images \(\[24, 40\]\)"):
        Stream(columns, **kinds, patch=(32, 16), batch=2, augment="flips")


def test_what_a_stage_draws_from_is_the_same_everywhere() -> None:
    """Golden keys: Python's own `hash` differs from process to process."""
    assert [key_of(0, "l1"), key_of(1, "l1"), key_of(0, "retrain")] == [
        4_023_145_081_740_564_354,
        17_779_131_429_186_476_923,
        3_801_730_454_984_496_948,
    ]


def test_patches_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="no multiple of the scale"):
        stream(patch=30)
    with pytest.raises(ConfigError, match="pad 2 is no multiple of the scale 4"):
        stream(pad=2)
    with pytest.raises(ConfigError, match="larger than the sub-images"):
        stream(patch=52)
    with pytest.raises(ConfigError, match="cannot be shared by 5 workers"):
        stream().batch(0, 0, 5)
    assert stream(patch=SIZE).batch(0)["hr"].shape == (12, 3, SIZE, SIZE)
