"""The load gate: what dictionaries explain of the activations that they are put on, over a text.

Windows of tokens are read each on its own, in batches; nothing is kept of a batch but sums. One pass
over the text reads all sites at once, as they are in the unmodified model. Then each site's activation
is replaced, a pass each: by its reconstruction; by zeros; and by what the same weights make of it as
plain ReLU, where that is another thing. The pass with zeros reads a dictionary of random directions too.
On a sample of positions from the first pass other ways to run the dictionary are tried (`suspicions`).

Sinks (`attribution.sinks`) are read by the model and left as they are: no dictionary stands in the stream
there, and they take no part in any statistic, because dictionaries are trained without them and their
activations are of another size.
`scd_tui.judge` says what the numbers are held to.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from scd_tui.attribution.attribute import Reading, Scores, attribute, read
from scd_tui.attribution.chance import Fit, RandomDirections, normalised
from scd_tui.attribution.circuit import explained_and_not, share
from scd_tui.attribution.dictionary import Dictionary
from scd_tui.attribution.metric import positions_of, resolve_target
from scd_tui.attribution.model import LanguageModel
from scd_tui.attribution.suspicions import POSITIONS, neighbours, signs
from scd_tui.attribution.windows import Windows, without_sinks
from scd_tui.catalog.prompts import Prompt
from scd_tui.graph import NodeId, Site
from scd_tui.judge import Chance, Measured, Plain

_AT_ONCE = 2**24
"""Pre-activations in memory at a time."""
_NOTHING = 1e-10
"""Mean square below which activations do not vary, as in sae_lens's evals."""


@dataclass
class Tally:
    """Sums over the positions at which a dictionary has read a site."""

    count: int = 0
    active: int = 0
    most: int = 0
    residual: float = 0.0
    square: float = 0.0
    sum: Tensor | None = None
    fired: Tensor | None = None
    parts: list[tuple[int, float, float, Tensor]] = field(default_factory=list)

    def add(self, x: Tensor, reconstruction: Tensor) -> None:
        """Activations and what was made of them, both `[pos, d]`."""
        here = x.double().sum(dim=0)
        square, residual = float(x.square().sum()), float((x - reconstruction).square().sum())
        self.sum = here if self.sum is None else self.sum + here
        self.square += square
        self.residual += residual
        self.count += len(x)
        self.parts.append((len(x), residual, square, here))

    def add_active(self, positions: Tensor, indices: Tensor, rows: int, width: int) -> None:
        """Where and which features are active, `[m]`, among `rows` positions and `width` features."""
        each = torch.bincount(positions, minlength=rows)
        self.active += len(positions)
        self.most = max(self.most, int(each.max()))
        if self.fired is None:
            self.fired = torch.zeros(width, dtype=torch.bool, device=indices.device)
        self.fired[indices] = True

    @property
    def l0(self) -> float:
        return self.active / self.count

    @property
    def silent(self) -> float:
        """Share of features that were active nowhere."""
        return 1.0 if self.fired is None else 1 - float(self.fired.float().mean())

    def explained_variance(self, residual: float | None = None) -> float:
        """1 - E‖x - x̂‖² / (E‖x‖² - ‖E x‖²), as in sae_lens's evals; of another Σ‖x - x̂‖² if given."""
        assert self.sum is not None
        left = (self.residual if residual is None else residual) / self.count
        variance = self.square / self.count - float((self.sum / self.count).square().sum())
        if variance < _NOTHING:
            return 1.0 if left < _NOTHING else 0.0
        return 1 - left / variance

    def explained_variance_error(self) -> float | None:
        """Standard error of the explained variance, from how much the parts differ in which it was added.

        It is a ratio of sums: the delta method, with parts (windows of a text) taken as independent. None
        of fewer than three parts, and where activations do not vary.
        """
        count = len(self.parts)
        if count < 3 or self.sum is None:
            return None
        mean = self.sum / self.count
        variances = [
            square - 2 * float(mean @ here) + rows * float(mean @ mean)
            for rows, _, square, here in self.parts
        ]
        if sum(variances) / self.count < _NOTHING:
            return None
        share = self.residual / sum(variances)
        off = [
            part[1] - share * variance for part, variance in zip(self.parts, variances, strict=True)
        ]
        return sqrt(sum(one * one for one in off) * count / (count - 1)) / sum(variances)


def reconstruct(dictionary: Dictionary, tally: Tally, x: Tensor) -> Tensor:
    """`[pos, d]`: x̂ of activations `[pos, d]`, counted in `tally`."""
    made = []
    for part in torch.split(x, max(1, _AT_ONCE // dictionary.width)):
        chosen, reconstruction = dictionary.reconstruct(part)
        tally.add_active(chosen.positions, chosen.indices, len(part), dictionary.width)
        tally.add(part, reconstruction)
        made.append(reconstruction)
    return torch.cat(made)


@torch.no_grad()
def cross_entropy(
    model: LanguageModel,
    windows: Windows,
    makes: Mapping[Site, Callable[[Tensor], Tensor]],
    on_batch: Callable[[], None] = lambda: None,
) -> float:
    """Mean cross-entropy of each window's tokens but its first, in nats, in one pass over the text.

    Predictions made at sinks are left out. `makes[site]` is given the site's activations at the positions
    that count, `[n, d]`, and returns what the model goes on with.
    """
    total, count = 0.0, 0
    for batch in windows:
        edits = [(site, batch.edit(make)) for site, make in makes.items()]
        logits = model.forward(batch.ids, edits, slice(windows.skip, -1))
        counted = batch.counted[:, windows.skip : -1]
        wanted = batch.ids[:, windows.skip + 1 :]
        losses = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none")
        total += float(torch.where(counted.flatten(), losses, 0.0).sum())
        count += int(counted.sum())
        on_batch()
    return total / count


@dataclass
class Clean:
    """What the first pass finds at a site, in the unmodified model.

    `mean` `[d]` and `sample`, a few positions of each batch `[n, d]`, are of normalised activations.
    `around` has the activations themselves at the same positions, here and at neighbouring sites.
    """

    tally: Tally = field(default_factory=Tally)
    sum: Tensor | None = None
    sample: list[Tensor] = field(default_factory=list)
    around: dict[Site, Tensor] = field(default_factory=dict)

    @property
    def mean(self) -> Tensor:
        assert self.sum is not None
        return self.sum / self.tally.count


def read_sites(
    model: LanguageModel,
    dictionaries: Mapping[Site, Dictionary],
    windows: Windows,
    on_batch: Callable[[], None] = lambda: None,
) -> tuple[float, dict[Site, Clean]]:
    """The model's cross-entropy and what each dictionary says of it, in one pass over the text."""
    found = {site: Clean() for site in dictionaries}
    from_each = -(-POSITIONS // windows.batches)
    around = {site: neighbours(model, site) for site in dictionaries}
    samples: dict[Site, list[Tensor]] = {
        site: [] for site in dict.fromkeys([*dictionaries, *chain(*around.values())])
    }

    def look(site: Site) -> Callable[[Tensor], Tensor]:
        def make(x: Tensor) -> Tensor:
            # evenly, but not in step with the windows, whose first tokens are unlike the others
            places = torch.linspace(0, len(x) - 1, min(from_each, len(x)), device=x.device).long()
            samples[site].append(x[places])
            if site in dictionaries:
                dictionary, clean = dictionaries[site], found[site]
                reconstruct(dictionary, clean.tally, x)
                z = normalised(dictionary, x)
                clean.sum = z.sum(dim=0) if clean.sum is None else clean.sum + z.sum(dim=0)
                clean.sample.append(z[places])
            return x

        return make

    ce = cross_entropy(model, windows, {site: look(site) for site in samples}, on_batch)
    spread = {site: _spread(sample) for site, sample in samples.items()}
    for site, others in around.items():
        found[site].around = {one: spread[one] for one in (site, *others)}
    return ce, found


def _spread(sample: Sequence[Tensor]) -> Tensor:
    """`[n, d]`: the positions of all batches, in an order whose beginning is from all over the text."""
    whole = torch.cat(list(sample))
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0))
    return whole[order.to(whole.device)]


Pull = tuple[Tensor, Tensor]
"""A site's activation `[pos, d]` in a prompt, and the metric's gradient there `[pos, d]`."""


def askable(
    model: LanguageModel, prompts: Sequence[Prompt], *, first: int | None = None
) -> list[Prompt]:
    """The prompts that fit this model's context, behind `first` if any, and ask for single tokens."""

    room = model.context - (first is not None)

    def fits(prompt: Prompt) -> bool:
        wanted = [prompt.target, *([] if prompt.contrast is None else [prompt.contrast])]
        return 0 < len(model.tokenize(prompt.text)) <= room and all(
            model.is_single(text) for text in wanted
        )

    return [prompt for prompt in prompts if fits(prompt)]


def prompt_pulls(
    model: LanguageModel,
    dictionaries: Mapping[Site, Dictionary],
    prompt: Prompt,
    *,
    first: int | None = None,
) -> dict[Site, Pull]:
    """What a prompt's target, by `diff`, asks of each site. Raises InputError on what it cannot ask."""

    def nothing(reading: Reading, site: Site, scores: Scores) -> tuple[NodeId, ...]:
        return ()

    tokens = model.prompt(prompt.text)
    if first is not None and not model.begins_with_bos(tokens):
        tokens = (model.token(first), *tokens)
    reading = read(model, tokens, dictionaries, said=positions_of(tokens, 1))
    target = resolve_target(
        model,
        tokens,
        reading.cut.logits_by_position(),
        target=prompt.target,
        contrast=prompt.contrast,
    )
    gradients = attribute(reading, target, nothing).gradients
    own = reading.counted.clone()
    own[: int(first is not None)] = False
    return {
        site: (reading.cut.activation(site).detach()[own], gradients[site][own])
        for site in dictionaries
    }


@torch.no_grad()
def share_explained(dictionary: Dictionary, pulls: Sequence[Pull]) -> float | None:
    """Σ_p |Σ_i n_i(p)| / Σ_p (|Σ_i n_i(p)| + |n_err(p)|), on average over prompts; None without any.

    The node effects are those that this dictionary has with the unmodified model's gradients, whether
    or not it is the one that they were computed with.
    """
    shares = []
    for x, gradient in pulls:
        encoded = dictionary.encode(x)
        errors = (encoded.error * gradient).sum(dim=-1)
        zero = torch.zeros_like(errors)
        scores = Scores(encoded.along(gradient[None])[0], errors, zero, zero)
        if (found := share(*explained_and_not(encoded, scores))) is not None:
            shares.append(found)
    return sum(shares) / len(shares) if shares else None


@torch.no_grad()
def _plain(
    model: LanguageModel, dictionary: Dictionary, windows: Windows, on_batch: Callable[[], None]
) -> Plain | None:
    """The same weights as plain ReLU; None where they are that already."""
    if dictionary.is_plain:
        return None
    plain, tally = dictionary.as_plain_relu(), Tally()
    ce = cross_entropy(
        model, windows, {dictionary.site: partial(reconstruct, plain, tally)}, on_batch
    )
    return Plain(l0=tally.l0, explained_variance=tally.explained_variance(), ce_spliced=ce)


@torch.no_grad()
def _zeroed_beside_chance(
    model: LanguageModel,
    directions: RandomDirections,
    windows: Windows,
    pulls: Sequence[Pull],
    on_batch: Callable[[], None],
) -> tuple[float, Chance]:
    """Cross-entropy with zeros at the site, and a random dictionary of what was there."""
    random, tally, fit = directions.dictionary(), Tally(), Fit()

    def make(x: Tensor) -> Tensor:
        mu, _, s_out = random.scales(x)
        constant = s_out[:, None] * random.b_dec + mu[:, None]
        fit.add(x - constant, reconstruct(random, tally, x) - constant)
        return torch.zeros_like(x)

    ce = cross_entropy(model, windows, {random.site: make}, on_batch)
    chance = Chance(
        l0=tally.l0,
        explained_variance=tally.explained_variance(fit.residual),
        share_explained=share_explained(directions.dictionary(fit.length), pulls),
    )
    return ce, chance


def measure(
    model: LanguageModel,
    dictionaries: Mapping[Site, Dictionary],
    windows: Windows,
    prompts: Sequence[Prompt] = (),
    *,
    seed: int = 0,
    known: tuple[float, Mapping[Site, Clean]] | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[Measured]:
    """Each dictionary in turn, in the order given. The prompts are for the share explained.

    Sinks are found first, unless the windows say already which positions count; `known` is what
    `read_sites` found in them, if that was done before.
    `on_progress(done, total)` is called after every batch and prompt; what it raises ends the measuring.
    Raises InputError on a prompt that is not `askable`.
    """
    search = windows.counted is None
    passes = int(known is None) + int(search)
    passes += sum(2 if d.is_plain else 3 for d in dictionaries.values())
    total, done = passes * windows.batches + len(prompts), 0

    def step() -> None:
        nonlocal done
        done += 1
        on_progress(done, total)

    if search:
        windows = without_sinks(model, windows, dictionaries.values(), step)
    ce, clean = known or read_sites(model, dictionaries, windows, step)
    of_prompts = []
    for prompt in prompts:
        of_prompts.append(prompt_pulls(model, dictionaries, prompt, first=windows.first))
        step()
    for n, (site, dictionary) in enumerate(dictionaries.items()):
        found, tally = clean[site], clean[site].tally
        pulls = [of_prompt[site] for of_prompt in of_prompts]
        spliced = cross_entropy(
            model,
            windows,
            {site: partial(reconstruct, dictionary, Tally())},
            step,
        )
        directions = RandomDirections.draw(
            dictionary, found.mean, torch.cat(found.sample), tally.l0, seed + n
        )
        zeroed, chance = _zeroed_beside_chance(model, directions, windows, pulls, step)
        yield Measured(
            site=site,
            width=dictionary.width,
            k=dictionary.k,
            tokens=tally.count,
            l0_mean=tally.l0,
            l0_max=tally.most,
            explained_variance=tally.explained_variance(),
            explained_variance_error=tally.explained_variance_error(),
            ce=ce,
            ce_spliced=spliced,
            ce_zeroed=zeroed,
            silent=tally.silent,
            share_explained=share_explained(dictionary, pulls),
            plain=_plain(model, dictionary, windows, step),
            chance=chance,
            signs=signs(
                dictionary,
                found.around[site],
                {other: x for other, x in found.around.items() if other != site},
            ),
        )
