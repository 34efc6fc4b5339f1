"""The whole benchmark of one model, in the order that memory asks for.

First the encoder products, with weights of their own that are given back; then the model and its
dictionaries; then, once the dictionaries are given back, the published procedure with SAEs made anew.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass

import torch

from scd_tui.attribution.ablation import exact_effects
from scd_tui.attribution.load import device_label
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.numerics import use_exact_float32
from scd_tui.attribution.trust import OVERALL, strongest_features
from scd_tui.bench import circuits, procedure
from scd_tui.bench.circuits import Question, Upstream
from scd_tui.bench.kernels import Kernels, kernels_of
from scd_tui.bench.memory import Memory, free_bytes, watched
from scd_tui.bench.procedure import Procedure
from scd_tui.bench.products import encoder_seconds
from scd_tui.bench.reference import Dense, Sparse
from scd_tui.bench.stopwatch import Now, best_of, clock, only_new_garbage
from scd_tui.bench.subject import Subject
from scd_tui.errors import InputError
from scd_tui.graph import NodeId, Settings, Site
from scd_tui.timings import Length, Parts, Timings

RUNS = 5
FEW_RUNS = 2
"""Of what takes long: ablations, the dense procedure, and prompts of another length."""
LENGTHS = (15, 60, 240)
TOPS = (10, 50)
_GB = 1e9

Progress = Callable[[str, int, int], None]
"""What is being done, and how many steps of how many are behind it."""

_STEPS = (
    "multiplying with the encoders alone",
    "making the model and its dictionaries",
    "making circuits",
    "ablating nodes",
    "making circuits of other sizes",
    "running the published procedure",
)


@dataclass(frozen=True)
class _Main:
    """What is measured with the prompt that was asked for, and what the procedure is compared on."""

    token_ids: tuple[int, ...]
    sites: tuple[Site, ...]
    root: NodeId
    compared: tuple[NodeId, ...]
    targets: int
    memory: Memory
    parts: Parts
    upstream: Upstream
    kernels: Kernels | None
    forward_s: float
    exact_nodes: int
    exact_s: float


def measure(
    subject: Subject,
    device: torch.device,
    *,
    tokens: int = 15,
    top: int = 10,
    with_reference: bool = True,
    on_progress: Progress = lambda doing, done, total: None,
) -> Timings:
    """Measure everything, on as many threads as torch is set to.

    Raises InputError on prompts that are too long for the model and on dictionaries that do not fit into
    the memory that is free.
    """
    refuse(subject, device, tokens)
    use_exact_float32()
    now = clock(device)
    steps = iter(enumerate(_STEPS))

    def next_step() -> None:
        n, doing = next(steps)
        on_progress(doing, n, len(_STEPS))

    with only_new_garbage():
        next_step()
        runs = dict.fromkeys(LENGTHS, FEW_RUNS) | {tokens: RUNS}
        products = encoder_seconds(subject.sizes, runs, device, now)
        next_step()
        model, dictionaries = subject.load(device)
        _refuse_long(tokens, model.context)

        def question(count: int, top: int) -> Question:
            return Question(model, dictionaries, subject.prompt(model, count), Settings(top=top))

        next_step()
        main = _main(question(tokens, top), device, now, next_step)
        next_step()
        lengths = []
        for count in sorted(count for count in products if count <= model.context):
            for most in sorted({*TOPS, top}) if count == tokens else TOPS:
                if (count, most) == (tokens, top):
                    number, seconds = main.targets, main.parts.total_s
                else:
                    number, seconds = circuits.best(question(count, most), runs[count], now)
                lengths.append(
                    Length(
                        tokens=count,
                        top=most,
                        targets=number,
                        runs=runs[count],
                        encoders_s=products[count].seconds,
                        ours_s=seconds,
                    )
                )
        dictionaries.clear()
        next_step()
        dense = sparse = None
        if with_reference and procedure.applies(main.sites):
            dense, sparse = _procedure(subject, model, device, main, now)
    on_progress(_STEPS[-1], len(_STEPS), len(_STEPS))
    return Timings(
        model=subject.name,
        device=device_label(device),
        threads=torch.get_num_threads(),
        dictionaries=len(subject.sizes),
        width=max(features for _, features in subject.sizes),
        tokens=tokens,
        top=top,
        targets=main.targets,
        runs=RUNS,
        few_runs=FEW_RUNS,
        encoders_s=products[tokens].seconds,
        encoders_product=products[tokens].name,
        ours_s=main.parts.total_s,
        parts=main.parts,
        forward_s=main.forward_s,
        exact_nodes=main.exact_nodes,
        exact_s=main.exact_s,
        upstream_nodes=main.upstream.nodes,
        upstream_ms=main.upstream.median_ms,
        upstream_worst_ms=main.upstream.worst_ms,
        weights_gb=weight_bytes(model, subject) / _GB,
        rest_gb=None if main.memory.before is None else main.memory.before / _GB,
        peak_gb=None if main.memory.peak is None else main.memory.peak / _GB,
        reference_targets=0 if dense is None else len(dense.per_target_s),
        reference_dense_s=None if dense is None else dense.seconds(main.targets),
        reference_sparse_s=None if sparse is None else sparse.seconds(main.targets),
        lengths=tuple(lengths),
        kernels=None if main.kernels is None else main.kernels.ran,
        launches=None if main.kernels is None else main.kernels.launches,
    )


def refuse(subject: Subject, device: torch.device, tokens: int) -> None:
    """Raise InputError on what is known beforehand not to work."""
    if subject.context is not None:
        _refuse_long(tokens, subject.context)
    needed, free = subject.dictionary_bytes, free_bytes(device)
    if free is not None and needed > free:
        raise InputError(
            f"the dictionaries of {subject.name} take {needed / _GB:.1f} GB and "
            f"{free / _GB:.1f} GB are free: choose a smaller model or another device"
        )


def _refuse_long(tokens: int, context: int) -> None:
    if tokens > context:
        raise InputError(
            f"a prompt of {tokens} tokens was asked for and the model reads {context}: ask for fewer"
        )


def weight_bytes(model: LanguageModel, subject: Subject) -> int:
    """The model's parameters, shared ones once, and the dictionaries', in float32."""
    shared: dict[int, int] = {p.data_ptr(): 4 * p.numel() for p in model.bridge.parameters()}
    return sum(shared.values()) + subject.dictionary_bytes


def _main(
    question: Question, device: torch.device, now: Now, next_step: Callable[[], None]
) -> _Main:
    model, tokens = question.model, question.tokens
    # The first circuit is slow with what libraries load late, so it is the one that is watched.
    first, memory = watched(lambda: circuits.make(question, now), device)
    attribution = first.attribution
    reading, target = attribution.reading, attribution.target
    parts, upstream = circuits.best_parts_and_upstream(question, RUNS, now)
    kernels = kernels_of(lambda: circuits.make(question, now), device)
    with torch.no_grad():
        ids = model.ids(tokens)
        forward_s = best_of(RUNS, lambda: model.forward(ids), now)
    next_step()
    nodes = strongest_features(attribution, OVERALL)
    exact_s = best_of(FEW_RUNS, lambda: list(exact_effects(model, reading, target, nodes)), now)
    return _Main(
        token_ids=tuple(token.id for token in tokens),
        sites=reading.sites,
        root=target.root,
        compared=circuits.compared(attribution),
        targets=circuits.targets(attribution),
        memory=memory,
        parts=parts,
        upstream=upstream,
        kernels=kernels,
        forward_s=forward_s,
        exact_nodes=len(nodes),
        exact_s=exact_s,
    )


def _procedure(
    subject: Subject, model: LanguageModel, device: torch.device, main: _Main, now: Now
) -> tuple[Procedure, Procedure]:
    """The published procedure with features held dense, and with the active ones alone."""
    gc.collect()
    saes = subject.saes(device)
    dense, sparse = (
        procedure.timed(
            *(model.bridge, saes, main.token_ids, main.root, main.compared),
            code=code,
            runs=runs,
            now=now,
        )
        for code, runs in ((Dense, FEW_RUNS), (Sparse, RUNS))
    )
    return dense, sparse
