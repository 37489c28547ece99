import math

import pytest
import torch

from training.diffusion import STEPS, kept_signal, weaken

PIXELS = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("step", [-1, STEPS])
def test_a_step_that_is_not_there_is_refused(step: int) -> None:
    with pytest.raises(ValueError, match="not between 0 and 999"):
        weaken(PIXELS, step, seed=0)


def test_the_schedule_is_the_published_one() -> None:
    kept = kept_signal()
    by_hand = 1.0
    for number in range(901):
        beta = 1 / (1 + math.exp(6 - 12 * number / 999)) * (0.5e-2 - 1e-5) + 1e-5
        by_hand *= 1 - beta
    assert float(kept[900]) == pytest.approx(by_hand, rel=1e-9)
    assert (kept.diff() < 0).all()


def test_noise_grows_with_the_step_and_keeps_the_variance_of_unit_noise() -> None:
    far = [float((weaken(PIXELS, step, seed=1) - PIXELS).pow(2).mean()) for step in (0, 300, 900)]
    assert far == sorted(far)
    assert far[0] < 1e-3
    weakened = weaken(torch.zeros(3, 100, 100), 900, seed=1)
    assert float(weakened.std()) == pytest.approx(math.sqrt(1 - float(kept_signal()[900])), rel=0.02)


def test_equal_seeds_give_equal_noise_in_the_dtype_of_the_pixels() -> None:
    one, same, other = (weaken(PIXELS.bfloat16(), 500, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.dtype is torch.bfloat16
