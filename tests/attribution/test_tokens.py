"""Tokenizers of every kind: what their tokens say, and which token a text names."""

from pathlib import Path

import pytest
import torch
from tiny import random_dictionaries
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from scd_tui.attribution.explain import explain
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.question import ask
from scd_tui.attribution.tokens import Tokens
from scd_tui.attribution.vocabulary import beginning_with
from scd_tui.errors import InputError
from scd_tui.graph import ModelIdentity

WORDS = ("The", "▁The", "▁", "the", "▁the", "cat", "▁cat", "#3", "é", "▁é")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyzTC.0|#3")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))


def fast(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def of_llama() -> PreTrainedTokenizerFast:
    """BPE with ▁ put before the text by a normaliser, and with byte fallback: Llama 2's."""
    pieces = (
        "<unk>",
        "<s>",
        "</s>",
        *BYTES,
        "▁",
        *LETTERS,
        "Th",
        "The",
        "▁The",
        "th",
        "the",
        "▁the",
    )
    pieces += ("ca", "cat", "▁cat", "é", "▁é", "#3")
    merges = [("T", "h"), ("Th", "e"), ("▁", "The"), ("t", "h"), ("th", "e"), ("▁", "the")]
    merges += [("c", "a"), ("ca", "t"), ("▁", "cat"), ("▁", "é"), ("#", "3")]
    tokenizer = Tokenizer(
        models.BPE(
            {piece: n for n, piece in enumerate(dict.fromkeys(pieces))},
            merges,
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return fast(tokenizer)


def of_unigram() -> PreTrainedTokenizerFast:
    """Unigram behind Metaspace, which puts ▁ before the first word: T5's and XLNet's."""
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)]
    pieces += [(piece, -2.0) for piece in WORDS] + [(letter, -6.0) for letter in LETTERS]
    pieces += [("\n", -6.0)]
    seen = dict(reversed(pieces))
    tokenizer = Tokenizer(models.Unigram(list(seen.items())[::-1], unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    return fast(tokenizer)


def of_gemma() -> PreTrainedTokenizerFast:
    """As Llama's, with nothing put before the text."""
    found = of_llama()
    found.backend_tokenizer.normalizer = normalizers.Replace(" ", "▁")
    found.backend_tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return found


SENTENCEPIECE = {"llama": of_llama, "unigram": of_unigram, "gemma": of_gemma}


@pytest.mark.parametrize("kind", SENTENCEPIECE)
def test_a_sentencepiece_token_has_its_leading_space(kind: str) -> None:
    tokenizer = SENTENCEPIECE[kind]()
    tokens = Tokens(tokenizer)
    for piece, text in {
        "▁The": " The",
        "The": "The",
        "▁": " ",
        "▁cat": " cat",
        "é": "é",
        "▁é": " é",
        "</s>": "</s>",
        "#3": "#3",
    }.items():
        token_id = tokenizer.convert_tokens_to_ids(piece)
        assert tokens.token(token_id).text == text, piece
        # the text names the token again
        if piece not in ("▁", "</s>"):
            assert [token.id for token in tokens.within(text)] == [token_id], piece
    # a prompt is split as it always was
    assert [t.id for t in tokens.split("The cat")] == tokenizer(
        "The cat", add_special_tokens=False
    )["input_ids"]


@pytest.mark.parametrize("kind", ["llama", "gemma"])
def test_a_byte_is_a_text_or_says_that_it_is_none(kind: str) -> None:
    tokenizer = SENTENCEPIECE[kind]()
    tokens = Tokens(tokenizer)
    id_of = tokenizer.convert_tokens_to_ids
    assert tokens.token(id_of("<0x0A>")).text == "\n"
    assert tokens.token(id_of("<0xE2>")).text == "\\xe2"
    assert [t.text for t in tokens.within(" €")] == [" ", "\\xe2", "\\x82", "\\xac"]


def test_a_wordpiece_goes_on_or_begins_a_word() -> None:
    pieces = ("<unk>", "<s>", "</s>", "the", "cat", "##ing", "##s", "a", "e", ".")
    tokenizer = Tokenizer(
        models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    tokens = Tokens(fast(tokenizer))
    assert [tokens.token(n).text for n in (3, 5, 6)] == [" the", "ing", "s"]
    assert [t.id for t in tokens.within("the")] == [3]


def test_byte_level_texts_are_their_bytes_also_with_a_space_put_before() -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = ["<unk>", "<s>", "</s>", *alphabet, "th", "Ġth"]
    tokenizer = Tokenizer(
        models.BPE({p: n for n, p in enumerate(pieces)}, [("t", "h"), ("Ġ", "th")])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokens = Tokens(fast(tokenizer))
    assert [t.text for t in tokens.split("th")] == [" th"]
    assert [t.text for t in tokens.within("th")] == ["th"]
    assert [t.text for t in tokens.within(" th")] == [" th"]
    assert tokens.token(pieces.index("é")).text == "\\xe9"


# --- in a model ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """A model of a Llama-like tokenizer, BOS before every prompt, with more ids than that has."""
    folder: Path = tmp_path_factory.mktemp("padded")
    tokenizer = of_llama()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    size = {"n_positions": 32, "n_embd": 16, "n_layer": 1, "n_head": 2, "bos_token_id": 1}
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer) + 9, **size)).save_pretrained(folder)
    return LanguageModel.boot(folder, torch.device("cpu"), prepend_bos=True)


def test_ids_beyond_the_tokenizer_have_a_name(padded: LanguageModel) -> None:
    last = padded.vocabulary - 1
    assert padded.token(last).text == f"#{last}"
    assert padded.every_token[-1].id == last
    assert padded.single_token(f"#{last}").id == last
    logits = torch.zeros(padded.vocabulary)
    logits[last] = 9.0
    assert padded.completions(logits, 1)[0].token == padded.token(last)


def test_a_token_is_named_by_its_id_also_where_another_one_says_the_same(
    padded: LanguageModel,
) -> None:
    really = next(token for token in padded.every_token if token.text == "#3")
    assert really.id != 3
    assert ask(padded, "the cat", target="#3", contrast=f"#{really.id}").target == (3,)
    assert ask(padded, "the cat", target=f"#{really.id}").target == (really.id,)
    first, *_ = beginning_with(padded.every_token, "#3", 5)
    assert first.id == 3
    with pytest.raises(InputError, match=r"there is no token 99999: ids go from 0 to "):
        ask(padded, "the cat", target="#99999")


def test_a_word_with_its_space_and_without_are_two_tokens(padded: LanguageModel) -> None:
    question = ask(padded, "the cat", target=" The", contrast="The")
    assert question.contrast is not None
    with_space, without = question.target[0], question.contrast[0]
    assert with_space != without
    assert (padded.token(with_space).text, padded.token(without).text) == (" The", "The")


def test_a_bos_that_is_typed_is_the_one_and_is_said(padded: LanguageModel) -> None:
    plain, typed = padded.prompt("the cat"), padded.prompt("<s> the cat")
    assert plain[0].id == typed[0].id == padded.bos
    assert [token.id for token in typed].count(padded.bos) == 1
    identity = ModelIdentity(
        **{"name": "x", "revision": "0", "dictionaries": "none", "dictionaries_revision": "0"},
        **{"device": "cpu", "layers": 1, "context": 32},
        vocabulary=padded.vocabulary,
    )
    loaded = LoadedModel(padded, random_dictionaries(1, 16, kinds=("resid_post",)), identity)
    said = "the prompt begins with '<s>' itself: it is not put before it once more"
    assert said in explain(loaded, "<s> the cat", target=5).circuit.notes
    assert said not in explain(loaded, "the cat", target=5).circuit.notes
