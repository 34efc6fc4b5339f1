"""The bundled model: where its data lie.

The data are made by `python -m scd_tui.demo.build`; nothing else imports the modules beside this
one.
"""

from pathlib import Path

_DATA = Path(__file__).parent / "data"


def data_dir() -> Path:
    """The directory of everything below, `gate.json` and the notices."""
    return _DATA


def model_dir() -> Path:
    """A Hugging Face GPT-2 directory: configuration, float16 weights, tokenizer."""
    return _DATA / "model"


def dictionaries_dir() -> Path:
    """One directory in sae_lens's format for each dictionary, named by its hook."""
    return _DATA / "dictionaries"


def features_dir() -> Path:
    """The feature records that `scd_tui.neuronpedia.bundled` reads."""
    return _DATA / "features"


def gate_path() -> Path:
    """What the model and its dictionaries were measured to do, as JSON."""
    return _DATA / "gate.json"
