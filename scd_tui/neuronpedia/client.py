"""What Neuronpedia is asked: one feature with all that is known of it, or many in brief."""

from collections.abc import Sequence

import msgspec

from scd_tui.neuronpedia.address import Addresses, Feature, sendable
from scd_tui.neuronpedia.faults import Fault
from scd_tui.neuronpedia.found import BATCH, Found
from scd_tui.neuronpedia.records import FeatureRecord
from scd_tui.neuronpedia.transport import Answer, Transport, status_fault
from scd_tui.neuronpedia.wire import decode_feature, decode_features, says_unknown


class Client:
    """Reads features. It blocks, and is safe for several threads."""

    def __init__(self, addresses: Addresses, transport: Transport) -> None:
        self._addresses = addresses
        self._transport = transport

    @property
    def host(self) -> str:
        return self._addresses.host

    def close(self) -> None:
        self._transport.close()

    def full(self, feature: Feature) -> Found:
        """Everything about one feature. Raises Fault."""
        if not sendable(feature):
            return Found({feature: None})
        answer = self._transport.send("GET", self._addresses.api(feature))
        if answer.status == 404:
            self._require_data(answer)
            if not says_unknown(answer.body):
                raise self._unreadable()
            return Found({feature: None}, answer.remaining)
        self._check(answer)
        try:
            record = decode_feature(answer.body)
        except ValueError:
            raise self._unreadable() from None
        if _named(record) != feature:
            raise Fault("content", self._for_another(record))
        return Found({feature: record}, answer.remaining)

    def brief(self, features: Sequence[Feature]) -> Found:
        """Explanations, logits, density and one activation of up to `BATCH` features. Raises Fault.

        The service leaves out those that it does not know, and its order says nothing: what comes
        back is told apart by its names, and what was not asked for is refused.
        """
        if len(features) > BATCH:
            raise ValueError(f"{len(features)} features are more than {BATCH}")
        asked = [feature for feature in features if sendable(feature)]
        if not asked:
            return Found(dict.fromkeys(features))
        body = msgspec.json.encode(
            [
                {"modelId": f.model, "layer": f.source, "index": f.index, "maxActsToReturn": 1}
                for f in asked
            ]
        )
        answer = self._transport.send("POST", f"{self._addresses.site}/api/features", body)
        self._check(answer)
        try:
            found, odd = decode_features(answer.body)
        except ValueError:
            raise self._unreadable() from None
        records: dict[Feature, FeatureRecord | None] = dict.fromkeys(features)
        refused = self._words() if odd else ""
        for record in found:
            feature = _named(record)
            if feature in records:
                records[feature] = record
            else:
                refused = self._for_another(record)
        if refused:
            # Whether those that are missing exist cannot be told from such an answer.
            records = {feature: record for feature, record in records.items() if record is not None}
        return Found(records, answer.remaining, refused, damaged=bool(refused))

    def _check(self, answer: Answer) -> None:
        if answer.status != 200:
            raise status_fault(answer.status, self.host, answer.retry_after)
        self._require_data(answer)

    def _require_data(self, answer: Answer) -> None:
        if "json" not in answer.content_type.lower():
            words = "sent a web page in place of data (does this network ask for a sign-in?)"
            raise Fault("page", f"{self.host} {words}")

    def _unreadable(self) -> Fault:
        return Fault("content", self._words())

    def _words(self) -> str:
        return f"an answer of {self.host} could not be understood"

    def _for_another(self, record: FeatureRecord) -> str:
        return f"{self.host} answered for a feature that was not asked for, {_named(record)}"


def _named(record: FeatureRecord) -> Feature:
    return Feature(record.model_id, record.source, record.index)
