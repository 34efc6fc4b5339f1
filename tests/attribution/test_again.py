"""A saved circuit asked once more."""

import msgspec
import pytest
from tiny import PROMPT

from scd_tui.attribution.again import Changed, ask_again, changed, comparison
from scd_tui.attribution.explain import explain
from scd_tui.attribution.load import LoadedModel
from scd_tui.catalog.made_with import model_of
from scd_tui.catalog.models import find
from scd_tui.errors import InputError
from scd_tui.graph import Circuit, Metric, Settings, Token, decode_circuit, encode_circuit

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def circuit(tiny_loaded: LoadedModel) -> Circuit:
    return explain(tiny_loaded, PROMPT, target=7, settings=Settings(top=3, edges=2)).circuit


@pytest.mark.parametrize(
    ("metric", "contrast", "position"),
    [("diff", None, None), ("diff", 11, 5), ("logp", None, None), ("logit", None, -2)],
)
def test_the_answer_is_the_same_again(
    tiny_loaded: LoadedModel, metric: Metric, contrast: int | None, position: int | None
) -> None:
    first = explain(
        *(tiny_loaded, PROMPT),
        target=7,
        contrast=contrast,
        metric=metric,
        position=position,
        settings=Settings(top=3, edges=2, completions=4),
    ).circuit
    saved = decode_circuit(encode_circuit(first))
    again = ask_again(tiny_loaded, saved)
    assert replace(again.circuit, seconds={}) == replace(saved, seconds={})
    assert again.attribution.target == saved.target
    assert list(changed(again.attribution, saved)) == []
    assert comparison(again.attribution, saved) == (
        f"the metric and the effects of the file's {len(saved.nodes) - 1} nodes, computed again, "
        "are the same"
    )


def test_effects_that_differ_by_more_than_rounding_are_named(
    tiny_loaded: LoadedModel, circuit: Circuit
) -> None:
    strong, *rest = sorted(circuit.nodes, key=lambda node: -abs(node.effect))
    rounded = replace(strong, effect=strong.effect * (1 + 1e-5))
    wrong = replace(rest[0], effect=rest[0].effect * 1.01)
    absent = replace(rest[1], id="mlp_out.0/63@99")
    file = replace(circuit, nodes=(rounded, wrong, absent, *rest[2:]))
    attribution = ask_again(tiny_loaded, circuit).attribution
    assert list(changed(attribution, file)) == [
        Changed(wrong.id, wrong.effect, pytest.approx(rest[0].effect)),
        Changed(absent.id, absent.effect, None),
    ]
    said = comparison(attribution, file)
    assert said.startswith(
        f"of the metric and the effects of the file's {len(file.nodes) - 1} nodes, 2 are not what"
    )
    assert f"{absent.id}: effect {absent.effect:.3g} in the file, inactive here" in said


def test_a_file_whose_tokens_are_not_its_prompt_s_is_refused(
    tiny_loaded: LoadedModel, circuit: Circuit
) -> None:
    tokens = (*circuit.tokens[:-1], Token(1, "!"))
    with pytest.raises(InputError, match="tokens are not those of its prompt"):
        ask_again(tiny_loaded, replace(circuit, tokens=tokens))


def test_a_question_that_the_model_cannot_answer_is_refused(
    tiny_loaded: LoadedModel, circuit: Circuit
) -> None:
    target = replace(circuit.target, position=99)
    with pytest.raises(InputError, match="no position 99"):
        ask_again(tiny_loaded, replace(circuit, target=target))


def test_another_model_or_revision_is_refused(circuit: Circuit) -> None:
    with pytest.raises(
        InputError, match=r"tiny with the dictionaries random, is not found: .*--model"
    ):
        model_of(circuit.model)
    spec = find("demo")
    revision, of_dictionaries = spec.revisions()
    identity = replace(
        circuit.model,
        name="demo",
        dictionaries="topk",
        revision=revision,
        dictionaries_revision=of_dictionaries,
    )
    assert model_of(identity) == spec
    under_another_name = replace(identity, name="lost")
    assert model_of(under_another_name, "demo") == spec
    with pytest.raises(InputError, match="demo with the dictionaries wide, is not found"):
        model_of(replace(identity, dictionaries="wide"))
    for field, what in (("revision", "model"), ("dictionaries_revision", "dictionaries")):
        other = replace(identity, **{field: "0123"})
        with pytest.raises(InputError, match=f"revision '0123' of the {what} of demo"):
            model_of(other)
