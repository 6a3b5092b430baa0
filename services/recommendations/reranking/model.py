"""The re-ranker at serving time: an anytime algorithm over the ranked candidates."""

from __future__ import annotations

import copy
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import repeat
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Candidates, UserState
from services.recommendations.reranking.calibration import Calibration, ListCalibration
from services.recommendations.reranking.selection import Request, best_exchange
from streamrec.contracts.conventions import UNKNOWN
from streamrec.contracts.errors import ArtifactError, InvalidInputError
from streamrec.items.state import ItemState

SKIP_ABOVE_MS: Final = 85.0
"""In fallback mode, a request that has already taken longer is answered in relevance order."""

CONSUMED_HISTORY: Final = 200
"""Newest items of a history that say which languages the user consumes."""

UNFITTED_PRICE: Final = 0.01
"""About what the last place of a slate is worth in NDCG where one item in thirty there is taken up."""

SETTINGS_FILE: Final = "reranking.json"
ARRAYS_FILE: Final = "reranking.npz"
_FORMAT: Final = 2

_EARLIER_PRICES: Final = "language_prices"
"""What artifacts of earlier releases call their exposure prices."""


class DiversityReranker:
    """Gives creators of under-exposed languages more of the slate, at a bounded cost in relevance.

    What is optimised is documented in `services.recommendations.reranking.selection`; within the slate items
    keep their order of relevance. The answer starts as the relevance order and improves exchange by exchange,
    so it is valid whenever the budget ends. It depends on the arguments alone: served and offline answers are
    equal.
    """

    def __init__(
        self,
        target_gini: float = 0.30,
        latency_budget_ms: float = 15.0,
        diversity_weight: float = 1.0,
        fallback_mode: bool = True,
        *,
        language_of: Mapping[str, str] = MappingProxyType({}),
        exposure_prices: Mapping[str, float] | None = None,
        calibration: Calibration = Calibration(),  # noqa: B008 - frozen
        slate_length: int = 10,
        exploration_share: float = 0.1,
        price_revision: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set it up.

        Args:
            target_gini: Exposure Gini over all creator languages that the prices were fitted for; 0..1.
            latency_budget_ms: Time that one call may take; then the best slate so far is returned.
            diversity_weight: Factor on every price: 0 keeps the relevance order.
            fallback_mode: Whether a request that is already late is left as it is (`SKIP_ABOVE_MS`).
            language_of: Creator language by item id; items that are not in it have no price.
            exposure_prices: The bonus that an item's score gets for its creator's language: what one shown
                item of each language is worth, in NDCG; a language without a price is worth nothing. When
                None, by catalogue: the language with most items is worth nothing, the one with fewest
                `UNFITTED_PRICE`, the others in between by rank.
            calibration: From the ranker's scores to probabilities.
            slate_length: How many items are shown: only they are chosen.
            exploration_share: Most of the slate that prices may fill with languages the user does not
                consume.
            price_revision: Of the published prices; 0 for those of the artifact.
            clock: Monotonic seconds.

        Raises:
            InvalidInputError: A setting is out of its range.
        """
        _require("target_gini", target_gini, 0.0, 1.0)
        _require("latency_budget_ms", latency_budget_ms, 0.0, np.inf)
        _require("diversity_weight", diversity_weight, 0.0, np.inf)
        _require("exploration_share", exploration_share, 0.0, 1.0)
        if slate_length < 1:
            raise InvalidInputError("slate_length", "must be 1 or more")
        self.target_gini = target_gini
        self.latency_budget_ms = latency_budget_ms
        self.diversity_weight = diversity_weight
        self.fallback_mode = fallback_mode
        self.calibration = calibration
        self.slate_length = slate_length
        self.exploration_share = exploration_share
        self.price_revision = price_revision
        self.languages = tuple(sorted(set(language_of.values())))
        if exposure_prices is None:
            exposure_prices = _prices_by_catalogue(language_of)
        self._clock = clock
        self._code_of_language = {language: code for code, language in enumerate(self.languages)}
        self._code_of_item = {item: self._code_of_language[name] for item, name in language_of.items()}
        self._set_prices(exposure_prices)

    def _set_prices(self, exposure_prices: Mapping[str, float]) -> None:
        for language, price in exposure_prices.items():
            _require(f"exposure_prices.{language}", price, 0.0, np.inf)
        self.exposure_prices = MappingProxyType(dict(exposure_prices))
        # One code more for items whose language is not known; what is not known cannot be under-exposed.
        prices = [0.0 if name == UNKNOWN else exposure_prices.get(name, 0.0) for name in self.languages]
        self._prices = self.diversity_weight * np.array([*prices, 0.0])

    def with_prices(self, exposure_prices: Mapping[str, float], price_revision: int) -> Self:
        """Return the same re-ranker under newly published prices; the large tables are shared.

        Raises:
            InvalidInputError: A price is negative or not finite.
        """
        other = copy.copy(self)
        other._set_prices(exposure_prices)
        other.price_revision = price_revision
        return other

    def with_items(self, state: ItemState) -> Self:
        """Return the same re-ranker that knows the languages of the items of the log.

        A language that it did not know has the price that is published for it, if one is.
        """
        if not state.items:
            return self
        other = copy.copy(self)
        new = sorted({item.creator_language for item in state.items.values()} - set(self.languages))
        other.languages = (*self.languages, *new)
        other._code_of_language = {language: code for code, language in enumerate(other.languages)}
        other._code_of_item = {
            **self._code_of_item,
            **{name: other._code_of_language[item.creator_language] for name, item in state.items.items()},
        }
        other._set_prices(self.exposure_prices)
        return other

    def skips(self, current_latency_ms: float) -> bool:
        """Whether a request that has taken this long is left in relevance order."""
        return self.fallback_mode and current_latency_ms > SKIP_ABOVE_MS

    def rerank(
        self,
        candidates: Candidates,
        user_context: UserState,
        current_latency_ms: float,
        *,
        slate_length: int | None = None,
    ) -> Candidates:
        """Return the same items; the first `slate_length` are the slate.

        An item that now stands behind a less relevant one gets that one's score, so that scores still fall.

        Args:
            candidates: Ranked, best first.
            user_context: Whose slate it is.
            current_latency_ms: Time that the request has taken so far.
            slate_length: Items that this request shows, where it differs from the re-ranker's own.

        Returns:
            ``candidates`` itself when it is skipped or when the relevance order is already best.
        """
        return self.rerank_in_time(candidates, user_context, current_latency_ms, slate_length=slate_length)[0]

    def rerank_in_time(
        self,
        candidates: Candidates,
        user_context: UserState,
        current_latency_ms: float,
        *,
        slate_length: int | None = None,
    ) -> tuple[Candidates, bool]:
        """As `rerank`, and whether the clock had no part in it: nothing was skipped or cut off for time."""
        shown = self.slate_length if slate_length is None else slate_length
        if len(candidates) <= shown:
            return candidates, True
        if self.skips(current_latency_ms):
            return candidates, False
        deadline = self._clock() + self.latency_budget_ms / 1000.0
        request = self.request(candidates, user_context, shown)
        if self._clock() >= deadline:
            return candidates, False
        exchange = best_exchange(request, self._prices, shown, self.exploration_slots(shown))
        if len(exchange.incoming) == 0:
            return candidates, True
        complete = True
        in_slate = np.zeros(len(candidates), dtype=np.bool_)
        in_slate[:shown] = True
        for dropped, taken in zip(exchange.outgoing.tolist(), exchange.incoming.tolist(), strict=True):
            if self._clock() >= deadline:
                complete = False
                break
            in_slate[dropped], in_slate[taken] = False, True
        order = np.concatenate([np.flatnonzero(in_slate), np.flatnonzero(~in_slate)])
        item_ids = candidates.item_ids
        slate = Candidates(
            item_ids=tuple(item_ids[position] for position in order.tolist()),
            scores=np.minimum.accumulate(candidates.scores[order]),
        )
        return slate, complete

    def exploration_slots(self, slate_length: int) -> int:
        """Most items of a slate that prices may lift in languages the user does not consume."""
        return int(self.exploration_share * slate_length + 1e-9)

    def request(self, candidates: Candidates, user: UserState, slate_length: int | None = None) -> Request:
        """Translate into what the selection works on; ``candidates`` must not be empty."""
        shown = self.slate_length if slate_length is None else slate_length
        relevance = self.calibration.relevance(candidates.scores, shown, len(user.history))
        return Request(relevance, self.codes(candidates.item_ids), self._consumed(user))

    def codes(self, item_ids: Sequence[str]) -> NDArray[np.int64]:
        """Language of each item, an index into `languages`; one beyond its end where it is not known."""
        code_of, without = self._code_of_item, len(self.languages)
        return np.fromiter(map(code_of.get, item_ids, repeat(without)), dtype=np.int64, count=len(item_ids))

    def _consumed(self, user: UserState) -> NDArray[np.bool_]:
        """Shape (languages + 1,): the user's own language and those of the newest history."""
        consumed = np.zeros(len(self.languages) + 1, dtype=np.bool_)
        consumed[self.codes(user.history[-CONSUMED_HISTORY:])] = True
        consumed[self._code_of_language.get(user.segment.language, len(self.languages))] = True
        return consumed

    def save(self, folder: Path) -> None:
        """Write settings, prices and the languages of the items into ``folder``, which is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        items = sorted(self._code_of_item)
        np.savez(
            folder / ARRAYS_FILE,
            item_ids=np.array(items, dtype=np.str_),
            language_codes=np.array([self._code_of_item[item] for item in items], dtype=np.int32),
        )
        document = {
            "format": _FORMAT,
            "target_gini": self.target_gini,
            "latency_budget_ms": self.latency_budget_ms,
            "diversity_weight": self.diversity_weight,
            "fallback_mode": self.fallback_mode,
            "calibration": [asdict(group) for group in self.calibration.groups],
            "slate_length": self.slate_length,
            "exploration_share": self.exploration_share,
            "languages": self.languages,
            "exposure_prices": dict(self.exposure_prices),
        }
        (folder / SETTINGS_FILE).write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")

    @classmethod
    def load(cls, folder: Path, **changed: Any) -> Self:
        """Read what `save` wrote.

        Args:
            folder: The artifact.
            changed: Arguments of the constructor that replace what the artifact says, for example newer
                ``exposure_prices`` or a ``slate_length``.

        Raises:
            ArtifactError: A file is missing, damaged, of another format, or holds a setting out of range.
        """
        try:
            document = json.loads((folder / SETTINGS_FILE).read_text())
            if document.pop("format") != _FORMAT:
                raise ArtifactError(f"{folder}: not in format {_FORMAT}, the one that this release reads")
            if _EARLIER_PRICES in document:
                document["exposure_prices"] = document.pop(_EARLIER_PRICES)
            languages = document.pop("languages")
            groups = document.pop("calibration")
            document["calibration"] = Calibration(tuple(ListCalibration(**group) for group in groups))
            # Opened here: NumPy leaves the file open when it is no archive.
            with (folder / ARRAYS_FILE).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                codes = arrays["language_codes"].tolist()
                # One object an id in a process: a look-up that finds it need not compare texts.
                items = map(sys.intern, arrays["item_ids"].tolist())
            document["language_of"] = {item: languages[code] for item, code in zip(items, codes, strict=True)}
            return cls(**{**document, **changed})
        except (
            OSError,
            EOFError,
            BadZipFile,
            ValueError,
            KeyError,
            IndexError,
            TypeError,
            AttributeError,
            InvalidInputError,
        ) as error:
            raise ArtifactError(f"{folder} does not hold a readable re-ranker: {error!r}") from error


def _prices_by_catalogue(language_of: Mapping[str, str]) -> dict[str, float]:
    counts = Counter(language for language in language_of.values() if language != UNKNOWN)
    largest_first = sorted(counts, key=lambda language: (-counts[language], language))
    steps = max(len(largest_first) - 1, 1)
    return {language: UNFITTED_PRICE * rank / steps for rank, language in enumerate(largest_first)}


def _require(field: str, value: float, low: float, high: float) -> None:
    if not (np.isfinite(value) and low <= value <= high):
        raise InvalidInputError(field, f"must be finite and in {low:g}..{high:g}")
