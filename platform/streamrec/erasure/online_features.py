"""A person in the online feature store."""

from __future__ import annotations

from streamrec.erasure.stores import Trace
from streamrec.features.personal_rows import OnlineRows
from streamrec.features.settings import FeatureSettings


class OnlineFeaturesData:
    """Implements `PersonalData` for the online rows."""

    name = "online features"

    def __init__(self, settings: FeatureSettings) -> None:
        self._rows = OnlineRows(settings)
        self._place = settings.online.split("@")[-1]

    def remove(self, person: str) -> int:
        """See `PersonalData.remove`."""
        return self._rows.remove(person)

    def find(self, person: str) -> list[Trace]:
        """See `PersonalData.find`."""
        count = self._rows.count(person)
        return [Trace(f"online store {self._place}", count)] if count else []
