"""What passes are reckoned to take is what they take; work that is cut to what fits is the same work."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from allocations import allocated
from attributing import everything, target_of
from families import write_family
from tiny import KINDS, PROMPT, random_dictionaries, write_tokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from scd_tui.attribution import room
from scd_tui.attribution.ablation import exact_effects, measured_edges
from scd_tui.attribution.attribute import Attribution, Reading, attribute, read, strongest
from scd_tui.attribution.explain import explain
from scd_tui.attribution.integrated import integrated_effects
from scd_tui.attribution.load import LoadedModel
from scd_tui.attribution.metric import resolve_target
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.trust import edges_to_measure, nodes_to_measure
from scd_tui.catalog.passes import Asked, DictionarySize, Sizes, longest
from scd_tui.graph import ModelIdentity, Site, Target, parse_node

CPU = torch.device("cpu")
MB = 1 << 20


def booted(folder: Path, *, layers: int, width: int, heads: int, context: int) -> LanguageModel:
    """A random GPT-2 of these sizes."""
    torch.manual_seed(0)
    GPT2LMHeadModel(
        GPT2Config(
            vocab_size=write_tokenizer(folder),
            n_positions=context,
            n_embd=width,
            n_layer=layers,
            n_head=heads,
            initializer_range=0.15,
        )
    ).save_pretrained(folder)
    return LanguageModel.boot(folder, CPU)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """Small weights, many heads, a long context."""
    return booted(tmp_path_factory.mktemp("long"), layers=3, width=32, heads=16, context=2400)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """Wider than any prompt of it is long."""
    return booted(tmp_path_factory.mktemp("wide"), layers=3, width=256, heads=4, context=32)


def of_random_tokens(model: LanguageModel, count: int, kinds: tuple = KINDS) -> Reading:
    ids = torch.randint(5, 250, (count,), generator=torch.Generator().manual_seed(1)).tolist()
    sites = random_dictionaries(model.layers, model.width, kinds=kinds)
    return read(model, tuple(map(model.token, ids)), sites, said=[count - 1])


def metric_of(model: LanguageModel, reading: Reading) -> Target:
    """Token 7 against token 11 at the last position, whose logits alone there are."""
    logits = reading.cut.logits_by_position()
    return resolve_target(model, reading.cut.tokens, logits, target=7, contrast=11)


@pytest.fixture(params=["long", "wide"])
def case(request: pytest.FixtureRequest) -> tuple[LanguageModel, int]:
    """A model, and tokens enough for what is measured to be the model's and not Python's."""
    return request.getfixturevalue(request.param), 160 if request.param == "long" else 32


def test_what_a_pass_is_reckoned_to_take_is_what_it_takes(
    case: tuple[LanguageModel, int],
) -> None:
    model, count = case
    sizes = room.sizes_of(model)
    ids = torch.randint(5, 250, (4, count))
    with torch.no_grad():
        model.forward(ids[:1], positions=[-1])
        peak, left = allocated(lambda: model.forward(ids, positions=[-1]))
    assert 0.5 * 4 * sizes.forward(count) < peak < 4 * sizes.forward(count)
    # nothing of it stays: the bridge would keep every layer's patterns
    assert left < 0.1 * peak


def test_what_a_circuit_is_reckoned_to_take_is_what_it_takes(
    case: tuple[LanguageModel, int],
) -> None:
    model, count = case
    found: list[Reading] = []
    warm = of_random_tokens(model, 4)
    peak, left = allocated(lambda: found.append(of_random_tokens(model, count)))
    (reading,) = found
    asked = Asked(
        reading.cut.sizes,
        (DictionarySize(model.width, 64, 8),) * 9,
        sources=room.most_upstream(reading.sites),
    )
    assert 0.4 * asked.held(count) < left < asked.held(count)
    assert peak < asked.needed(count)
    target = metric_of(model, reading)
    attribute(warm, metric_of(model, warm), strongest(2))
    peak, _ = allocated(lambda: attribute(reading, target, strongest(5)))
    assert 0.3 * 6 * asked.product(count) < peak < 6 * asked.product(count)


@pytest.mark.parametrize("family", ["gpt2", "pythia", "llama-3", "gemma-2"])
def test_sizes_are_those_of_the_model(tmp_path: Path, family: str) -> None:
    model = LanguageModel.boot(write_family(tmp_path, family), CPU)
    sizes = room.sizes_of(model)
    assert (sizes.layers, sizes.heads, sizes.width) == (3, 4, 32)
    assert sizes.attention == model.width_at(Site(0, "hook_z"))
    assert sizes.mlp == (128 if family == "gpt2" else 48)
    assert sizes.vocabulary == model.vocabulary
    assert sizes.capped == (family == "gemma-2")
    # and no family's bridge keeps patterns
    with torch.no_grad():
        model.forward(torch.randint(5, 250, (1, 29)))
    gc.collect()
    kept = [x for x in gc.get_objects() if isinstance(x, torch.Tensor) and x.shape[-2:] == (29, 29)]
    assert not [x.shape for x in kept if x.ndim == 4 and x.is_floating_point() and x.shape[1] == 4]


# --- cut to what fits ----------------------------------------------------------------------------


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes a machine of so many free bytes, where nothing is too little to be asked for."""

    def limit(free: int) -> None:
        monkeypatch.setattr(room, "NOTHING", 0)
        monkeypatch.setattr(room, "free_bytes", lambda device: free)

    return limit


def test_one_batched_product_and_many_are_the_same(
    tiny_model: LanguageModel, reading: Reading, tight: Callable[[int], None]
) -> None:
    target = target_of(tiny_model, reading)
    whole = attribute(reading, target, everything)
    each = reading.cut.sizes.product(len(reading.cut.tokens), 5, 0)
    tight(4 * each)
    parts = attribute(reading, target, everything)
    for site in reading.sites:
        torch.testing.assert_close(parts.gradients[site], whole.gradients[site])
    for node, into in whole.edges.items():
        for place, scores in into.items():
            for name, values in vars(scores).items():
                torch.testing.assert_close(
                    getattr(parts.edges[node][place], name), values, rtol=1e-4, atol=1e-5
                )


@pytest.fixture
def attribution(tiny_model: LanguageModel, reading: Reading) -> Attribution:
    return attribute(reading, target_of(tiny_model, reading), strongest(4))


def test_ablations_edges_and_averages_are_the_same_in_batches_that_fit(
    tiny_model: LanguageModel, attribution: Attribution, tight: Callable[[int], None]
) -> None:
    reading, target = attribution.reading, attribution.target
    nodes = nodes_to_measure(attribution)[:9]
    edges = [(parse_node(e.source), e.target) for e in edges_to_measure(attribution)[:9]]

    def all_of() -> tuple[list[int], list[float], list[float]]:
        effects = list(exact_effects(tiny_model, reading, target, nodes))
        weights = list(measured_edges(tiny_model, attribution, edges))
        averaged = dict(integrated_effects(tiny_model, reading, target, steps=4))
        values = [value for batch in effects for value in batch.values()]
        return (
            [len(effects), len(weights)],
            [*values, *(weight for batch in weights for weight in batch)],
            [float(v) for s in averaged.values() for v in s.features[:20]],
        )

    batches, values, averaged = all_of()
    assert batches == [1, 1]
    tight(int(4.5 * room.sizes_of(tiny_model).forward(len(reading.cut.tokens))))
    batches, fewer_at_once, averaged_in_parts = all_of()
    assert batches == [3, 3]
    assert fewer_at_once == pytest.approx(values, rel=1e-3, abs=1e-5)
    assert averaged_in_parts == pytest.approx(averaged, rel=1e-3, abs=1e-5)


# --- refused -------------------------------------------------------------------------------------


@pytest.fixture
def loaded(long: LanguageModel) -> LoadedModel:
    sites = random_dictionaries(long.layers, long.width, kinds=("resid_post",))
    identity = ModelIdentity(
        **{"name": "long", "revision": "0", "dictionaries": "random", "dictionaries_revision": "0"},
        **{"device": "cpu", "layers": long.layers, "context": long.context},
        vocabulary=long.vocabulary,
        sites=tuple(sites),
    )
    return LoadedModel(long, sites, identity)


@pytest.fixture(scope="module")
def reading(tiny_model: LanguageModel) -> Reading:
    return read(tiny_model, tiny_model.prompt(PROMPT), random_dictionaries(3, 32))


@pytest.fixture
def address_space() -> Iterator[Callable[[int], None]]:
    """Limits this process to so many bytes more than it has mapped."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_AS)

    def limit(more: int) -> None:
        used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + more, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's account of memory")
def test_a_long_prompt_on_a_small_model_is_refused_under_a_limit_and_a_shorter_one_runs(
    long: LanguageModel, loaded: LoadedModel, address_space: Callable[[int], None]
) -> None:
    explain(loaded, "the cat")
    address_space(400 * MB)
    with pytest.raises(room.NoRoom) as refused:
        explain(loaded, "the cat sat on the mat. " * 300)
    said = str(refused.value)
    assert said.startswith(
        f"this prompt of {len(long.prompt('the cat sat on the mat. ' * 300)):,} "
    )
    assert "needs about " in said and " GB to attribute and " in said and " MB are free: " in said
    # and what it advises to do, works
    advised = int(said.rpartition("about ")[2].split()[0].replace(",", ""))
    assert 100 < advised < 1000
    words = "the cat sat on the mat. " * 300
    while len(long.prompt(words)) > advised:
        words = words[: int(0.97 * len(words))]
    explanation = explain(loaded, words)
    nodes = nodes_to_measure(explanation.attribution)[:3]
    effects = exact_effects(
        long, explanation.attribution.reading, explanation.attribution.target, nodes
    )
    assert sum(map(len, effects)) == len(nodes)


def test_what_is_advised_is_the_longest_that_fits() -> None:
    asked = Asked(Sizes(6, 16, 64, 64, 256, 5000), (DictionarySize(64, 512, 16),) * 6)
    free = asked.needed(700)
    assert longest(asked.needed, free, 2300) == 700
    assert longest(asked.needed, 0, 2300) == 0
    assert longest(asked.needed, free, 20) == 19


def test_the_places_upstream_are_those_since_the_stream_was_cut() -> None:
    kinds = ("attn_out", "mlp_out", "resid_post")
    sublayers = [Site(layer, kind) for layer in range(3) for kind in kinds]
    assert room.most_upstream(sublayers) == 5
    assert room.most_upstream([site for site in sublayers if site.kind != "resid_post"]) == 8
