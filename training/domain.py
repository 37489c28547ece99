"""Tell pictures of a student's own world from any other, by the features its vision tower gives them.

The tiny student knows only drawings; asked about a photograph it answers as firmly as ever. So its
folder carries the mean and spread of its training pictures' features, and the distance beyond which
one held-out drawing in a thousand lies. The distance is Mahalanobis', in the mean and the deviation
over patches of the vision tower's features: large where a picture differs in directions in which
drawings hardly vary.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

SHRINKAGE = 1e-4
"""Share of the mean variance added to every direction, so that none has nearly no spread."""
HELD_OUT_WITHIN = 0.999
"""Share of held-out pictures that are not to be called strange."""


@dataclass(frozen=True, slots=True)
class Domain:
    """What a student was trained on: `mean` is (D,), `whitening` (D, D), `threshold` a distance."""

    name: str
    threshold: float
    mean: Tensor
    whitening: Tensor

    @classmethod
    def load(cls, student_dir: Path) -> Self | None:
        """Read the domain beside a student; None where it claims none."""
        path = student_dir / "domain.json"
        if not path.exists():
            return None
        said = json.loads(path.read_text(encoding="utf-8"))
        tensors = load_file(student_dir / "domain.safetensors")
        return cls(said["name"], said["threshold"], tensors["mean"].float(), tensors["whitening"].float())

    @classmethod
    def fit(cls, name: str, training: Tensor, held_out: Tensor) -> Self:
        """Fit to features (N, D); the threshold leaves HELD_OUT_WITHIN of the held-out pictures within."""
        mean = training.mean(0)
        covariance = torch.cov((training - mean).T)
        covariance += SHRINKAGE * covariance.diagonal().mean() * torch.eye(len(mean))
        values, vectors = torch.linalg.eigh(covariance)
        fitted = cls(name, 0.0, mean, vectors / values.clamp_min(1e-8).sqrt())
        threshold = round(float(fitted.distances(held_out).quantile(HELD_OUT_WITHIN)), 2)
        return cls(name, threshold, fitted.mean, fitted.whitening)

    def save(self, student_dir: Path) -> None:
        """Write the domain beside a student."""
        said = {"name": self.name, "threshold": self.threshold}
        (student_dir / "domain.json").write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
        tensors = {"mean": self.mean.contiguous(), "whitening": self.whitening.contiguous()}
        save_file(tensors, student_dir / "domain.safetensors")

    def distances(self, features: Tensor) -> Tensor:
        """Return the distance of each feature (N, D) from the training pictures, (N,)."""
        away: Tensor = torch.linalg.vector_norm((features - self.mean) @ self.whitening, dim=1)
        return away

    @torch.inference_mode()
    def is_strange(self, model: Any, pixel_values: Tensor) -> bool:
        """Whether one preprocessed picture (1, 1, 3, H, W) lies beyond the threshold."""
        feature = picture_features(model, pixel_values.flatten(0, 1).to(model.dtype))
        return bool(self.distances(feature.float().cpu())[0] > self.threshold)


def picture_features(model: Any, pixels: Tensor) -> Tensor:
    """Return one feature for each picture (N, 3, H, W): mean and deviation over its patches, (N, D)."""
    return summary(model.model.vision_model(pixel_values=pixels).last_hidden_state)


def summary(patches: Tensor) -> Tensor:
    """Return one feature for each picture from its patches, (N, P, W): mean and deviation, (N, D)."""
    return torch.cat([patches.mean(1), patches.std(1)], dim=1)
