"""Load-gate values that were measured beforehand and lie beside a model."""

from pathlib import Path

from scd_tui.decoding import Undecodable, decode_json
from scd_tui.errors import InputError
from scd_tui.graph import DictionaryGate, Record, Site
from scd_tui.reading import RESULT, read_bytes


class _Splice(Record, frozen=True):
    """One dictionary on one kind of text; cross-entropies in nats a token."""

    kind: str
    tokens: int
    l0_mean: float
    l0_max: int
    explained_variance: float
    loss_rise: float
    recovered: float | None = None


class _Dictionary(Record, frozen=True):
    id: str
    active: int
    dead: float
    splices: tuple[_Splice, ...]


class _Bars(Record, frozen=True):
    l0_share: float
    dead: float
    explained_variance: dict[str, float]
    loss_rise: float
    recovered: float


class _Gate(Record, frozen=True):
    dictionaries: tuple[_Dictionary, ...]
    bars: _Bars


def _passes(dictionary: _Dictionary, bars: _Bars) -> bool:
    return dictionary.dead <= bars.dead and all(
        splice.l0_max <= dictionary.active
        and splice.l0_mean >= bars.l0_share * dictionary.active
        and splice.explained_variance >= bars.explained_variance.get(splice.kind, -1.0)
        and splice.loss_rise <= bars.loss_rise
        and (splice.recovered is None or splice.recovered >= bars.recovered)
        for splice in dictionary.splices
    )


def read_gate(path: Path, sites: dict[str, Site]) -> tuple[DictionaryGate, ...]:
    """The gate of each dictionary whose hook is in `sites`: its worst values over the kinds of text.

    Raises InputError when the file is there and is no gate; returns nothing when it is absent.
    """
    try:
        gate = decode_json(read_bytes(path, RESULT), _Gate)
    except FileNotFoundError:
        return ()
    except (OSError, Undecodable) as error:
        raise InputError(f"{path} is not a gate file: {error}") from None
    return tuple(
        DictionaryGate(
            site=sites[dictionary.id],
            l0=min(splice.l0_mean for splice in dictionary.splices),
            explained_variance=min(s.explained_variance for s in dictionary.splices),
            delta_ce=max(splice.loss_rise for splice in dictionary.splices),
            ce_recovered=min(
                (s.recovered for s in dictionary.splices if s.recovered is not None), default=None
            ),
            passed=_passes(dictionary, gate.bars),
        )
        for dictionary in gate.dictionaries
        if dictionary.id in sites and dictionary.splices
    )
