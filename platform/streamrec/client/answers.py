"""What the service answers, as frozen types. Unknown fields are ignored: a newer service may say more."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeVar

from streamrec.client.errors import FieldProblem, Problem, UnreadableAnswerError

_MAXIMUM_WORDS: Final = 300
_MAXIMUM_FIELDS: Final = 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RecommendedItem:
    """One item of a slate.

    Attributes:
        item_id: Which.
        position: 0 is the first.
        score: Of the last stage that scored; compares within one answer.
    """

    item_id: str
    position: int
    score: float


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A slate and how it came about.

    Attributes:
        request_id: The service's own id of the request; events name it.
        user_id: Whom it is for.
        items: The slate, first position first.
        rung: Step of the fallback ladder.
        degraded: Whether a stage that should have taken part did not; ``skipped`` names those.
        in_full: False where a stage cut its work off to be in time.
        cold_start: Whether the candidates came from the cold-start model.
        model_versions: Registered version by stage.
        price_revision: Of the exposure prices it was made under.
        latency_ms: From arrival to answer, by the service's clock; ``stages_ms`` says it of each stage.
        client_request_id: The caller's own id, where it sent one.
        next_page_token: Asks for the page after this one; None where there is none.
        attempts: Requests it took.
    """

    request_id: str
    user_id: str
    items: tuple[RecommendedItem, ...]
    rung: str
    degraded: bool
    skipped: tuple[str, ...] = ()
    in_full: bool = True
    cold_start: bool = False
    model_versions: Mapping[str, int] = field(default_factory=dict)
    price_revision: int | None = None
    latency_ms: float = 0.0
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    client_request_id: str | None = None
    next_page_token: str | None = None
    attempts: int = 1

    @property
    def item_ids(self) -> tuple[str, ...]:
        """The ids of the slate, first position first."""
        return tuple(item.item_id for item in self.items)


@dataclass(frozen=True, slots=True)
class QuarantinedEvent:
    """An event that was set aside.

    Attributes:
        index: Its place among the events that were sent, from 0.
        event_id: Which; None where the service could not read it.
        reason: Why, as one word.
        detail: Why, in words.
    """

    index: int
    event_id: str | None
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class EventReceipt:
    """What became of events. None of them needs to be sent again.

    Attributes:
        sent: Events that were sent.
        accepted: Events that count, those known before included.
        duplicates: Of these, events that were known before.
        quarantined: Events that were set aside.
        attempts: Requests it took.
        in_effect: Whether every later answer to these users knows the events that count. False where the
            service's feature store is slow or down: they count as soon as it answers.
    """

    sent: int = 0
    accepted: int = 0
    duplicates: int = 0
    quarantined: tuple[QuarantinedEvent, ...] = ()
    attempts: int = 0
    in_effect: bool = True

    def followed_by(self, later: EventReceipt) -> EventReceipt:
        """One receipt for these events and the ones sent after them."""
        moved = (
            QuarantinedEvent(self.sent + event.index, event.event_id, event.reason, event.detail)
            for event in later.quarantined
        )
        return EventReceipt(
            self.sent + later.sent,
            self.accepted + later.accepted,
            self.duplicates + later.duplicates,
            (*self.quarantined, *moved),
            self.attempts + later.attempts,
            self.in_effect and later.in_effect,
        )


def read_recommendation(content: bytes, attempts: int) -> Recommendation:
    """Read the answer to a recommendation request.

    Raises:
        UnreadableAnswerError: It is none; names the field.
    """
    answer = _Fields(_json_object(content))
    return Recommendation(
        request_id=answer.text("request_id"),
        user_id=answer.text("user_id"),
        items=tuple(
            RecommendedItem(item.text("item_id"), item.whole("position"), item.number("score"))
            for item in answer.objects("items")
        ),
        rung=answer.text("rung"),
        degraded=answer.flag("degraded"),
        skipped=answer.texts("skipped"),
        in_full=answer.flag("in_full", default=True),
        cold_start=answer.flag("cold_start", default=False),
        model_versions=answer.by_name("model_versions", _whole),
        price_revision=answer.optional("price_revision", _whole),
        latency_ms=answer.optional("latency_ms", _number) or 0.0,
        stages_ms=answer.by_name("stages_ms", _number),
        client_request_id=answer.optional("client_request_id", _text),
        next_page_token=answer.optional("next_page_token", _text),
        attempts=attempts,
    )


def read_event_receipt(content: bytes, attempts: int, *, sent: int) -> EventReceipt:
    """Read the answer to a request with ``sent`` events.

    Raises:
        UnreadableAnswerError: It is none; names the field.
    """
    answer = _Fields(_json_object(content))
    return EventReceipt(
        sent=sent,
        accepted=answer.whole("accepted"),
        duplicates=answer.optional("duplicates", _whole) or 0,
        quarantined=tuple(
            QuarantinedEvent(
                event.whole("index"),
                event.optional("event_id", _text),
                event.text("reason"),
                event.optional("detail", _text) or "",
            )
            for event in answer.objects("quarantined", required=False)
        ),
        attempts=attempts,
        in_effect=answer.flag("in_effect", default=True),
    )


def read_problem(status: int, content: bytes, retry_after_s: float | None) -> Problem:
    """Read what came with a status that is no success; a proxy's page is a problem without words."""
    try:
        document = _json_object(content)
    except UnreadableAnswerError:
        return Problem(status, retry_after_s=retry_after_s)
    errors = document.get("errors")
    return Problem(
        status,
        type=_words(document.get("type")),
        title=_words(document.get("title")),
        detail=_words(document.get("detail")),
        errors=tuple(
            FieldProblem(_words(error.get("field")), _words(error.get("problem")))
            for error in (errors if isinstance(errors, list) else [])[:_MAXIMUM_FIELDS]
            if isinstance(error, dict)
        ),
        retry_after_s=retry_after_s,
    )


class _Fields:
    """The fields of one JSON object; whatever is not of its type ends the reading."""

    def __init__(self, document: Mapping[str, Any], path: str = "") -> None:
        self._document = document
        self._path = path

    def text(self, name: str) -> str:
        return self._read(name, _text)

    def whole(self, name: str) -> int:
        return self._read(name, _whole)

    def number(self, name: str) -> float:
        return self._read(name, _number)

    def flag(self, name: str, *, default: bool | None = None) -> bool:
        if default is not None and name not in self._document:
            return default
        return self._read(name, _flag)

    def optional(self, name: str, kind: Callable[[object], T]) -> T | None:
        return None if self._document.get(name) is None else self._read(name, kind)

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(self._each(name, self._document.get(name, []), _text))

    def by_name(self, name: str, kind: Callable[[object], T]) -> Mapping[str, T]:
        values = self._document.get(name, {})
        if not isinstance(values, dict):
            self._wrong(name, "is no object")
        return dict(zip(values, self._each(name, list(values.values()), kind), strict=True))

    def objects(self, name: str, *, required: bool = True) -> list[_Fields]:
        values = self._document.get(name, None if required else [])
        return [
            _Fields(value, f"{self._path}{name}.{index}.")
            for index, value in enumerate(self._each(name, values, _object))
        ]

    def _each(self, name: str, values: object, kind: Callable[[object], T]) -> Sequence[T]:
        if not isinstance(values, list):
            self._wrong(name, "is no list")
        try:
            return [kind(value) for value in values]
        except TypeError as error:
            self._wrong(name, f"holds something that {error}")

    def _read(self, name: str, kind: Callable[[object], T]) -> T:
        try:
            return kind(self._document[name])
        except KeyError:
            self._wrong(name, "is missing")
        except TypeError as error:
            self._wrong(name, str(error))

    def _wrong(self, name: str, problem: str) -> NoReturn:
        raise UnreadableAnswerError(f"the answer's field {self._path}{name} {problem}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("is no text")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("is no whole number")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError("is no number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise TypeError("is no finite number")
    return number


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("is neither true nor false")
    return value


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("is no object")
    return value


def _words(value: object) -> str:
    """Text of somebody else on one line of bounded length: it ends up in logs."""
    return " ".join(value.split())[:_MAXIMUM_WORDS] if isinstance(value, str) else ""


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswerError(f"the answer is not JSON ({type(error).__name__})") from error
    if not isinstance(document, dict):
        raise UnreadableAnswerError("the answer is JSON, but no object")
    return document
