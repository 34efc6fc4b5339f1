"""A process that imports torch and says, as JSON on stdout, which devices it finds."""

import json
import sys
import time
import warnings


def probe() -> dict[str, object]:
    """Versions, devices, and why there is no CUDA device where there is none."""
    start = time.perf_counter()
    import torch

    seconds = time.perf_counter() - start
    why = ""
    # what CUDA has to complain of comes as a warning, and `init` raises it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.cuda.init()  # type: ignore[no-untyped-call]
            count = torch.cuda.device_count()
        except (RuntimeError, AssertionError) as error:
            count, why = 0, str(error).splitlines()[0]
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "seconds": seconds,
        "devices": [torch.cuda.get_device_name(index) for index in range(count)],
        "why": why,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(probe()) + "\n")
