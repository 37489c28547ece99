"""Diffusion noise on a picture, as BPO weakens it (arXiv 2403.08730, after VCD, arXiv 2311.16922).

x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e, for t from 0 to 999. At BPO's step 900 a picture keeps 36 %
of its amplitude under noise of 93 %, at the last one 29 % under 96 %. The noise is added to the
pixels as the processor hands them to the model, so it is of the same strength whatever a processor's
mean and deviation.
"""

import math

import torch
from torch import Tensor

STEPS = 1_000


def kept_signal() -> Tensor:
    """Return abar_t, (1000,): the share of the picture's variance that is left at each step."""
    betas = torch.sigmoid(torch.linspace(-6, 6, STEPS, dtype=torch.float64)) * (0.5e-2 - 1e-5) + 1e-5
    return torch.cumprod(1 - betas, dim=0)


def weaken(pixels: Tensor, step: int, *, seed: int) -> Tensor:
    """Return one picture's pixels, of any shape, under the noise of a step, 0 to 999.

    Equal seeds give equal noise on every device. Raises ValueError for a step that is not there.
    """
    if not 0 <= step < STEPS:
        raise ValueError(f"Noise step {step} is not between 0 and {STEPS - 1}.")
    kept = float(kept_signal()[step])
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(seed))
    weakened: Tensor = math.sqrt(kept) * pixels + math.sqrt(1 - kept) * noise.to(pixels)
    return weakened
