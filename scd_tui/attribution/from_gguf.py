"""A Hugging Face directory made of a GGUF file: `python -m scd_tui.attribution.from_gguf FILE FOLDER`.

Run in a process of its own by whoever brings a model that comes in a package. transformers dequantises the
weights to float32 and rebuilds the tokenizer, except for the pre-tokenizer: it takes the one usual for the
family, and the file names the one that the model was trained with.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from scd_tui.errors import InputError

_BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
PRE_TOKENIZERS: Mapping[str, Mapping[str, Any]] = {
    # llama.cpp, src/llama-vocab.cpp: each digit alone, then GPT-2's pattern
    "smollm": {
        "type": "Sequence",
        "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTE_LEVEL],
    },
    "gpt-2": _BYTE_LEVEL,
}
"""What `tokenizer.ggml.pre` names, as tokenizers has it."""


def convert(gguf: Path, folder: Path) -> None:
    """Write the directory, weights in float32. Raises InputError on a file that is no model."""
    pre_tokenizer = _pre_tokenizer(gguf)
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32
        )
    except (ValueError, KeyError, IndexError, OSError, RuntimeError) as error:
        said = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise InputError(f"the GGUF file cannot be read as a model ({said})") from None
    _as_never_quantised(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer.json"
    described = json.loads(path.read_text("utf-8"))
    described["pre_tokenizer"] = pre_tokenizer
    path.write_text(json.dumps(described, ensure_ascii=False), "utf-8")


def _pre_tokenizer(gguf: Path) -> Mapping[str, Any]:
    """The one that a file names. Raises InputError where it names none that is known here."""
    from gguf import GGUFReader

    try:
        field = GGUFReader(gguf).get_field("tokenizer.ggml.pre")
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise InputError(f"the GGUF file is damaged ({error})") from None
    name = "" if field is None else str(field.contents())
    if name not in PRE_TOKENIZERS:
        raise InputError(
            f"the GGUF file names the pre-tokenizer {name!r}, and only {', '.join(PRE_TOKENIZERS)} are "
            "known: its prompts would be split into wrong tokens"
        )
    return PRE_TOKENIZERS[name]


def _as_never_quantised(model: PreTrainedModel) -> None:
    """Take away what says that the weights are quantised: they are float32 now."""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    model.config.architectures = [type(model).__name__]


def main(arguments: list[str]) -> int:
    """Exit code 1, with one line on stderr, if it could not be done."""
    gguf, folder = map(Path, arguments)
    try:
        convert(gguf, folder)
    except InputError as error:
        sys.stderr.write(f"\n{error}\n")
        return 1
    except MemoryError:
        sys.stderr.write("\nthe main memory is full: close other programs, and try again\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"\n{folder} cannot be written: {error.strerror or error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
