"""The untouched student in 4 bits while it is trained: QLoRA (Dettmers et al. 2023, arXiv 2305.14314).

An extra, because bitsandbytes is needed for it and a CUDA GPU: requirements-gpu.txt. Training alone uses
it; for serving and merging the untouched student is loaded whole, because an adapter merged into 4-bit
weights would be rounded with them.
"""

from importlib.util import find_spec
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from training.config import ConfigError

WAY_OUT = 'set quantization = "none", or on a machine with an NVIDIA GPU `pip install bitsandbytes==0.50.2`'


def four_bit() -> dict[str, Any]:
    """Return what `from_pretrained` takes to load weights in 4 bits (NF4, doubly quantized).

    Raises ConfigError where there is no CUDA GPU or no bitsandbytes.
    """
    if not torch.cuda.is_available():
        raise ConfigError(f'quantization = "4bit" needs a CUDA GPU, and there is none here: {WAY_OUT}.')
    if find_spec("bitsandbytes") is None:
        raise ConfigError(f'quantization = "4bit" needs bitsandbytes, which is not installed: {WAY_OUT}.')
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": settings, "device_map": {"": torch.cuda.current_device()}}
