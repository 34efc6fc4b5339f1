"""Arithmetic that two runs, and two devices, agree on."""

import os

import torch
import torch.utils.deterministic


def use_exact_float32() -> None:
    """Turn off TF32 and nondeterministic kernels for this process.

    Attribution in reduced precision is not reproducible to better than tens of per cent.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # filling what is about to be written takes a tenth of an attribution's time
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def assert_exact_float32() -> None:
    """Raise RuntimeError if something has turned TF32 back on."""
    if torch.backends.cuda.matmul.allow_tf32 or torch.get_float32_matmul_precision() != "highest":
        raise RuntimeError("TF32 is on: attribution needs full float32")


def leave_a_core() -> None:
    """Compute on all cores but one: what waits for the answer needs one too, and small matrices are
    slower on cores that others use."""
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))


def choose_device(wanted: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU. Raises ValueError on a device that is absent."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ValueError(f"{wanted!r} is not a device: use auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"there is no device {wanted}: use auto or cpu")
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"{wanted!r} is not supported: use auto, cpu, cuda or cuda:N")
    return device
