"""Is a dictionary loaded as it was trained? What is measured of one, and the verdict on it.

A dictionary that is run wrongly (another activation function, a normalisation left out, another site's
weights) raises nothing: its errors are added back, so that the model's output stays right, and every
attribution is of features that mean nothing. What shows it is how many features fire, and how little
they explain. `judge` holds both to what was published. Where nothing was, it holds them to bars that
any sound dictionary passes and a wrongly loaded one does not:

- L0: TopK dictionaries have at most k active features, and 98% of k on average (a pre-activation among
  the k largest is seldom negative). Others must be sparse: more than none, under a quarter of all.
- explained variance ≥ 0.6. Nearly all that were published for sae_lens's residual-stream dictionaries
  are above; sets of MLP or attention outputs that explain less say so, and are held to what they say.
- more explained variance than as many random directions, which reach 0.3 where 32 of 32,768 features
  are active in a width of 768, but 0.6 where 32 of 1,024 are in a width of 128.
- more explained variance than the same weights without normalisation and selection, where they have any.
- ΔCE ≤ 0.5 nats: perplexity times 1.65. Sound dictionaries cost a few hundredths to two tenths; where
  a site matters, what replaces its activation by noise costs whole nats.

Four signs show a dictionary that explains enough and is still not run as it was trained. A trained one has
the least error that its form allows; `Signs` are changes of its form that leave less. In brackets: as
measured on 256 positions of the bundled text, on the 12 bundled dictionaries, six of a model of 135M
parameters, and 24 that were trained with ReLU, TopK, AbsTopK and BatchTopK on the bundled model's sites.

- The weaker half of the active features, at the size that leaves the least error: 0.85 to 1.15 times as
  written [TopK and JumpReLU as trained: 0.94 to 1.03]. Below, features are active that training left out
  [TopK as ReLU: under 0.77; twice the k: 0.30 to 0.69]; above, where k is fixed, fewer than in training are
  active [half the k: 1.07 to 1.75]. ReLU dictionaries trained with a penalty shrink and lie above 1.4.
- The mean of the error over positions: under 12% of the mean square error, and 2.5% of the variance
  [as trained: under 6% and 0.5%, or under 2% where a penalty shrinks them]. A b_dec that is shifted by a
  tenth of the activations' spread has 8 to 50% and 0.4 to 1.5%; by a fifth, 9 to 80% and over 2%.
- No other normalisation leaves under 99.2% of the error, by 3.5 standard errors over positions [the best
  other one, as trained: over 101%; layer_norm run as constant_norm_rescale or the other way: 32 to 98.9%].
  Dictionaries that shrink explain more as soon as more features are active, so above a `scale` of 1.05
  nothing is concluded.
- No neighbouring site is left with under 95% of the variance that is left of its own [as trained: over
  122%; the next or previous layer's dictionary in its place: under 75%].

What is not told: a shift of b_dec below a tenth of the spread, and below a fifth where a quarter of the
variance is unexplained; a change of k by less than half; plain ReLU in place of a selection that leaves out
next to nothing [of 18, four of k 32 and 100 that explain 0.99 and as much either way]; layer_norm for
constant_norm_rescale where activations have next to no mean over their width, as the two are then nearly
one function; and features in another order, or with labels of another dictionary, of which activations
know nothing.

Published values were measured on another text than the user's, hence the room left around them.
"""

from scd_tui.graph import Record, Site

LEAST_EXPLAINED = 0.6
LARGEST_RISE = 0.5  # nats a token
LEAST_OF_K = 0.98
LARGEST_DENSITY = 0.25
ROOM_L0 = 0.2
ROOM_EXPLAINED = 0.05
ROOM_RECOVERED = 0.05
RECOVERED_WHERE = 0.2
"""What zero ablation has to cost, in nats, before a share of it says anything."""
LEAST_WEAKER = 0.85
MOST_WEAKER = 1.15
LARGEST_CONSTANT_OF_ERROR = 0.12
LARGEST_CONSTANT_OF_VARIANCE = 0.025
LEAST_RENORMALISED = 0.992
STANDARD_ERRORS = 3.5
LARGEST_SHRINKAGE = 1.05
LEAST_ELSEWHERE = 0.95


class Published(Record, frozen=True, kw_only=True):
    """What a dictionary's makers measured of it; None where they said nothing."""

    l0: float | None = None
    explained_variance: float | None = None
    ce_recovered: float | None = None

    @classmethod
    def from_registry(cls, l0: float, explained_variance: float) -> "Published":
        """From the two numbers of sae_lens's registry, in which 0.0 and 1.0 stand for unpublished.

        A few of its explained variances are negative, worse than the mean activation alone: what
        was measured there was no dictionary in working order, so they are passed over too.
        """
        return cls(
            l0=l0 if l0 > 0 else None,
            explained_variance=explained_variance if 0 < explained_variance < 1 else None,
        )


class Plain(Record, frozen=True, kw_only=True):
    """The same weights as plain ReLU on raw activations; `ce_spliced` in nats a token."""

    l0: float
    explained_variance: float
    ce_spliced: float


class Chance(Record, frozen=True, kw_only=True):
    """A dictionary of random directions, otherwise alike; `share_explained` as in `Measured`."""

    l0: float
    explained_variance: float
    share_explained: float | None = None


class Renormalised(Record, frozen=True, kw_only=True):
    """The same weights under another normalisation.

    `error`: mean square error as a multiple of the own one's; `standard_errors`: by how many the two
    differ, positive where this one's is smaller.
    """

    normalisation: str
    error: float
    standard_errors: float


class Elsewhere(Record, frozen=True, kw_only=True):
    """Explained variance at another site, and `here` at the dictionary's own on the same positions."""

    site: Site
    explained_variance: float
    here: float


class Signs(Record, frozen=True, kw_only=True):
    """Changes of a dictionary's form, and what they would do to its error on some `positions`.

    `scale`: of all that its features write, and `weaker_half` of what the weaker half of the active
    features at each position writes, the multiple that leaves the least error; None where nothing is
    written. `constant_of_error`, `constant_of_variance`: squared norm of the mean error, as a share of
    the mean square error and of the activations' variance. `renormalised` and `elsewhere` are the best
    of the other normalisations and of the neighbouring sites.
    """

    positions: int
    scale: float | None
    weaker_half: float | None
    constant_of_error: float
    constant_of_variance: float
    normalisation: str
    renormalised: Renormalised | None = None
    elsewhere: Elsewhere | None = None


class Measured(Record, frozen=True, kw_only=True):
    """One dictionary on one text of `tokens` tokens.

    `width` features, at most `k` of them active where the architecture fixes it. `l0_mean` and
    `l0_max` over tokens. `explained_variance` as in sae_lens's evals, with its standard error over
    windows where it was found. `ce`, `ce_spliced`, `ce_zeroed`:
    cross-entropy of the next token, in nats, of the model as it is, with the reconstruction in the
    activation's place, and with zeros there. `silent`: share of features that never fired.
    `share_explained`: Σ_p |Σ_i n_i(p)| / Σ_p (|Σ_i n_i(p)| + |n_err(p)|) of node effects, on average over
    prompts; None without any. `plain` is None where there is neither normalisation nor selection, and
    `signs` where they were not looked for.
    """

    site: Site
    width: int
    k: int | None
    tokens: int
    l0_mean: float
    l0_max: int
    explained_variance: float
    ce: float
    ce_spliced: float
    ce_zeroed: float
    silent: float
    share_explained: float | None
    plain: Plain | None
    chance: Chance
    explained_variance_error: float | None = None
    signs: Signs | None = None

    @property
    def delta_ce(self) -> float:
        """Nats a token that the reconstruction costs."""
        return self.ce_spliced - self.ce

    @property
    def ce_recovered(self) -> float | None:
        """Share of zero ablation's cost that the reconstruction saves; None if that is small."""
        cost = self.ce_zeroed - self.ce
        if cost < RECOVERED_WHERE:
            return None
        return (self.ce_zeroed - self.ce_spliced) / cost

    @property
    def plain_delta_ce(self) -> float | None:
        """Nats a token that the same weights cost as plain ReLU."""
        return None if self.plain is None else self.plain.ce_spliced - self.ce


class Verdict(Record, frozen=True):
    """On one dictionary. `reasons` says in sentences what failed, and is empty when it passed."""

    site: Site
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.reasons


# Comparisons with bars are written so that a value that is not a number fails.


def _l0(found: Measured, published: float | None) -> str | None:
    active = f"{found.l0_mean:,.1f} features are active at a token"
    if published is not None:
        if not abs(found.l0_mean - published) <= ROOM_L0 * published:
            return f"{active}, where {published:,.1f} were published"
    elif found.k is not None:
        if not found.l0_max <= found.k:
            return f"{found.l0_max:,} features are active at one token, where k is {found.k:,}"
        if not found.l0_mean >= LEAST_OF_K * found.k:
            return f"{active}, where k is {found.k:,}"
    else:
        most = LARGEST_DENSITY * found.width
        if not 0 < found.l0_mean < most:
            return f"{active}, where a sparse dictionary of {found.width:,} has 0 to {most:,.0f}"
    return None


def _explained(found: Measured, published: float | None) -> list[str]:
    explains = f"it explains {found.explained_variance:.3f} of the variance"
    if published is not None:
        if found.explained_variance >= published - ROOM_EXPLAINED:
            return []
        return [f"{explains}, where {published:.3f} was published"]
    reasons = []
    if not found.explained_variance >= LEAST_EXPLAINED:
        reasons.append(f"{explains}, where {LEAST_EXPLAINED} is the least for a sound one")
    others = {"random directions": found.chance.explained_variance}
    if found.plain is not None:
        others["the same weights as plain ReLU"] = found.plain.explained_variance
    for name, value in others.items():
        if value >= found.explained_variance:
            reasons.append(f"{explains}, and {name} explain {value:.3f}")
    return reasons


def _cross_entropy(found: Measured, known: Published) -> str | None:
    if known.ce_recovered is not None and found.ce_recovered is not None:
        if not found.ce_recovered >= known.ce_recovered - ROOM_RECOVERED:
            return (
                f"it recovers {found.ce_recovered:.3f} of the cross-entropy, where "
                f"{known.ce_recovered:.3f} was published"
            )
    elif known.explained_variance is None and not found.delta_ce <= LARGEST_RISE:
        return (
            f"in the activation's place it costs {found.delta_ce:.2f} nats a token, where "
            f"{LARGEST_RISE} is the most for a sound one"
        )
    return None


def _selection(found: Measured, known: Published, signs: Signs) -> str | None:
    """Whether as many features are active as in training. A published L0 says so by itself."""
    if known.l0 is not None or signs.weaker_half is None:
        return None
    fits = f"the weaker half of its active features fits best at {signs.weaker_half:.2f} times its size"
    if not signs.weaker_half >= LEAST_WEAKER:
        return f"{fits}, as where more are active than in training: check architecture and k"
    if found.k is not None and not signs.weaker_half <= MOST_WEAKER:
        return f"{fits}, as where fewer are active than in training: check k"
    return None


def _constant(known: Published, signs: Signs) -> str | None:
    """Whether the error has a mean. A published explained variance that is reached leaves no room."""
    of_error, of_variance = signs.constant_of_error, signs.constant_of_variance
    small = of_error <= LARGEST_CONSTANT_OF_ERROR and of_variance <= LARGEST_CONSTANT_OF_VARIANCE
    if known.explained_variance is not None or small:
        return None
    return (
        f"its error has the same mean at all tokens, {of_error:.0%} of the mean square error and "
        f"{of_variance:.1%} of the variance, where training leaves next to none: check b_dec and how it is "
        "applied"
    )


def _normalisation(signs: Signs) -> str | None:
    other = signs.renormalised
    shrinks = signs.scale is None or signs.scale > LARGEST_SHRINKAGE
    if other is None or shrinks or other.standard_errors < STANDARD_ERRORS:
        return None
    if other.error > LEAST_RENORMALISED:
        return None
    return (
        f"normalised by {other.normalisation} it leaves {other.error:.1%} of the error that it leaves by "
        f"{signs.normalisation}: check normalize_activations"
    )


def _site(found: Measured, signs: Signs) -> str | None:
    other = signs.elsewhere
    if other is None or 1 - other.explained_variance >= LEAST_ELSEWHERE * (1 - other.here):
        return None
    return (
        f"it explains {other.site} better ({other.explained_variance:.3f}) than {found.site} "
        f"({other.here:.3f}): check hook_name"
    )


def _signs(found: Measured, known: Published) -> list[str | None]:
    if found.signs is None:
        return []
    return [
        _selection(found, known, found.signs),
        _constant(known, found.signs),
        _normalisation(found.signs),
        _site(found, found.signs),
    ]


def judge(found: Measured, published: Published | None = None) -> Verdict:
    """The verdict, by what was published of the dictionary as far as it was.

    A published explained variance that is reached settles how well it reconstructs: the bars on ΔCE and
    against plain ReLU and random directions are for dictionaries without one. Of the signs, a published
    L0 settles how many features are active, and a published explained variance b_dec.
    """
    known = published or Published()
    reasons = [
        _l0(found, known.l0),
        *_explained(found, known.explained_variance),
        _cross_entropy(found, known),
        *_signs(found, known),
    ]
    return Verdict(found.site, tuple(reason for reason in reasons if reason is not None))
