"""The file that a circuit is saved in: the circuit, and beside it how it was being looked at."""

import msgspec

from scd_tui.decoding import Undecodable, decode_json
from scd_tui.graph import Circuit, decode_circuit, encode_circuit
from scd_tui.history import View


class _Looked(msgspec.Struct):
    view: View | None = None


class _Saved(Circuit, frozen=True, kw_only=True):
    view: View


def encode_saved(circuit: Circuit, view: View) -> bytes:
    """Such a file; whoever wants the circuit alone can read it as one."""
    fields = {name: getattr(circuit, name) for name in Circuit.__struct_fields__}
    return encode_circuit(_Saved(**fields, view=view))


def decode_saved(data: bytes) -> tuple[Circuit, View | None]:
    """The circuit in such a file, and how it was being looked at, None where that is not readable.

    Raises ValueError as `decode_circuit` does.
    """
    return decode_circuit(data), _view_in(data)


def _view_in(data: bytes) -> View | None:
    try:
        return decode_json(data, _Looked).view
    except Undecodable:
        return None
