"""The bundled model's tokenizer: a byte-level BPE in GPT-2's format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from scd_tui.demo import words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"
_REPEATS = 4000  # more often than any pair of a corpus of a few megabytes that stays unmerged


def train_tokenizer(texts: Iterable[str], vocabulary: int, context: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most `vocabulary` tokens; id 0 is `<|endoftext|>`.

    The words of `words.must_be_single_tokens()` are made single tokens (with a space before them)
    by showing each of them often, so that clean and contrast prompts have equal lengths.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    singles = "".join(f" {word}" for word in words.must_be_single_tokens())
    tokenizer.train_from_iterator([*texts, *([singles] * _REPEATS)], trainer=trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        unk_token=END_OF_TEXT,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        add_prefix_space=False,
    )


def word_ids(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Ids of tokens that are a space and three or more letters."""
    found = []
    for i in range(1, len(tokenizer)):
        text = tokenizer.decode([i])
        letters = text[1:]
        if text.startswith(" ") and len(letters) > 2 and letters.isascii() and letters.isalpha():
            found.append(i)
    return found


def encode_all(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, with no special token added."""
    encoded = tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return [e.ids for e in encoded]
