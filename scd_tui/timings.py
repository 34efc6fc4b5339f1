"""The records of a benchmark: what was timed in one run, and the ratios that follow.

Seconds are the best of several runs. GB are 10⁹ bytes. Seconds differ between machines, and on one machine
between hours; ratios of what was timed in the same run differ much less.
"""

from scd_tui.graph import Record


class Parts(Record, frozen=True, kw_only=True):
    """One circuit's seconds: the cut forward pass with all encoding, effects and edges, the records."""

    reading_s: float
    attribution_s: float
    records_s: float

    @property
    def total_s(self) -> float:
        return self.reading_s + self.attribution_s + self.records_s


class Length(Record, frozen=True, kw_only=True):
    """What a circuit costs with another prompt or another `top`; both times are the best of `runs`."""

    tokens: int
    top: int
    targets: int
    runs: int
    encoders_s: float
    ours_s: float

    @property
    def ours_over_encoders(self) -> float:
        return self.ours_s / self.encoders_s


class Timings(Record, frozen=True, kw_only=True):
    """Everything that `scd-tui bench` measures.

    What: `dictionaries` dictionaries of `width` features (the widest), a prompt of `tokens` tokens, the
    `top` strongest features a site and an error node; with the metric, `targets` nodes whose edges were
    computed. All of it ran on `threads` threads of the processor, on `device`. `runs` is how many runs
    most times are the best of, and `few_runs` the same for what is slow: `exact_s`, `reference_dense_s`
    and the lengths that say so.

    `encoders_s`: the dictionaries' encoder products alone, in the fastest form, `encoders_product`.
    `ours_s`: a circuit from tokens to records, `parts` of the same run. `forward_s`: one forward pass.
    `exact_s`: the ablations of the `exact_nodes` strongest features. `upstream_ms`: the edges into
    one more node, the median of `upstream_nodes` nodes, and the worst.

    `weights_gb`: the model's parameters and the dictionaries', in float32. `rest_gb` and `peak_gb`:
    memory before and, at most, while a circuit is made: the process's anonymous memory, which has
    the libraries' own in it, or what is allocated on a CUDA device. None where neither can be known.

    `reference_dense_s`, `reference_sparse_s`: the published procedure for as many targets, from the
    times of `reference_targets` of them, with features held dense or the active ones alone. None where
    it was not run.

    `kernels` and `launches`: kernels that ran on a CUDA device for one circuit, and calls that
    launched them.
    """

    model: str
    device: str
    threads: int
    dictionaries: int
    width: int
    tokens: int
    top: int
    targets: int
    runs: int
    few_runs: int
    encoders_s: float
    encoders_product: str
    ours_s: float
    parts: Parts
    forward_s: float
    exact_nodes: int
    exact_s: float
    upstream_nodes: int
    upstream_ms: float
    upstream_worst_ms: float
    weights_gb: float
    rest_gb: float | None
    peak_gb: float | None
    reference_targets: int
    reference_dense_s: float | None
    reference_sparse_s: float | None
    lengths: tuple[Length, ...]
    kernels: int | None = None
    launches: int | None = None

    @property
    def ours_over_encoders(self) -> float:
        return self.ours_s / self.encoders_s

    @property
    def exact_forwards(self) -> float:
        """The ablations' time in forward passes of the prompt alone."""
        return self.exact_s / self.forward_s

    @property
    def reference_over_ours(self) -> float | None:
        """How many circuits could be made in the time of the procedure's faster form."""
        if self.reference_dense_s is None or self.reference_sparse_s is None:
            return None
        return min(self.reference_dense_s, self.reference_sparse_s) / self.ours_s

    @property
    def peak_over_weights_gb(self) -> float | None:
        return None if self.peak_gb is None else self.peak_gb - self.weights_gb

    @property
    def rest_over_weights_gb(self) -> float | None:
        return None if self.rest_gb is None else self.rest_gb - self.weights_gb
