"""The file that a circuit is saved in: the circuit, and beside it how it was being looked at."""

import msgspec

from scd_tui.graph import Circuit, encode_circuit
from scd_tui.history import View


class _Looked(msgspec.Struct):
    view: View | None = None


class _Saved(Circuit, frozen=True, kw_only=True):
    view: View


def encode_saved(circuit: Circuit, view: View) -> bytes:
    """Such a file; whoever wants the circuit alone can read it as one."""
    fields = {name: getattr(circuit, name) for name in Circuit.__struct_fields__}
    return encode_circuit(_Saved(**fields, view=view))


def view_in(data: bytes) -> View | None:
    """How the circuit in a file was being looked at; None where it does not say, or nothing readable."""
    try:
        return msgspec.json.decode(data, type=_Looked).view
    except (msgspec.MsgspecError, RecursionError):
        return None
