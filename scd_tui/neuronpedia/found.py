"""What one request to Neuronpedia brought, and how much one may ask."""

import msgspec

from scd_tui.neuronpedia.address import Feature
from scd_tui.neuronpedia.records import FeatureRecord

BATCH = 256
"""Features of one request: parsing 2,048 at once would hold the screen up for a fifth of a second."""


class Found(msgspec.Struct, frozen=True):
    """Records by feature; None for one that Neuronpedia does not know.

    `remaining` is how many requests are left in this hour, where it was said. `refused` says why
    features that were asked for are not among the records; "" when all are. `damaged`: part of the
    answer could not be understood, so that the missing ones are to be asked for again.
    """

    records: dict[Feature, FeatureRecord | None]
    remaining: int | None = None
    refused: str = ""
    damaged: bool = False
