"""Published sizes of models and dictionaries, to be made with random weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A GPT-2 with one layer-normed TopK dictionary a sublayer; `streamed`: which stay in their files."""

    name: str
    layers: int
    width: int
    heads: int
    vocabulary: int
    context: int
    features: int
    active: int
    streamed: bool = False


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("gpt2-shape", 12, 768, 12, 50257, 1024, 32_768, 32),
        Shape("gpt2-shape-128k", 12, 768, 12, 50257, 1024, 131_072, 32, streamed=True),
        Shape("tiny-shape", 2, 64, 4, 512, 256, 512, 8),
    )
}
"""`gpt2-shape` is GPT-2 small with the OpenAI v5 dictionaries, 32k and 128k."""
