"""A logged slate drawn again, and how likely each of its items was to stand where it stood.

A slate that rests on a posterior draw is a function of the user's state, the versions, the prices, the items
and the seed. The impression names all of them, so the same slate can be drawn again; with other seeds, it
shows how often each item stands where it was shown.
"""

from __future__ import annotations

import numpy as np

from services.recommendations.contracts.candidates import UserState
from services.recommendations.contracts.effort import Effort
from services.recommendations.contracts.impression_extension import ImpressionExtension
from services.recommendations.contracts.state_document import state_digest, state_of
from services.recommendations.pipeline.offline import OfflinePipeline
from streamrec.contracts.errors import InvalidInputError
from streamrec.contracts.events import Impression, Propensity, PropensityKind
from streamrec.stats.off_policy import monte_carlo_propensity


class SlateDiffersError(InvalidInputError):
    """A slate came out otherwise when it was drawn again: something decides that the log does not know."""


def logged_user(impression: Impression) -> UserState:
    """What the stages knew of the user when the slate was drawn.

    Raises:
        InvalidInputError: The slate cannot be drawn again; ``field`` says for want of what.
    """
    if impression.seed is None:
        raise InvalidInputError("seed", "is missing: nothing was drawn")
    extension = ImpressionExtension.from_json(impression.extension)
    if extension.skipped:
        raise InvalidInputError("extension.skipped", "names stages that were late or down: time took part")
    if not extension.in_full:
        raise InvalidInputError("extension.in_full", "says that a stage was cut off: time took part")
    if not impression.item_ids:
        raise InvalidInputError("item_ids", "is empty: there was nothing to show")
    if impression.features is None:
        raise InvalidInputError("features", "is missing: the user's state was too long, or is not kept yet")
    user = state_of(impression.unit, impression.features)
    if impression.state_digest != state_digest(user):
        raise InvalidInputError("state_digest", "is not that of the state that was kept")
    return user


def _effort(impression: Impression) -> Effort:
    return ImpressionExtension.from_json(impression.extension).effort


def check_redraw(pipeline: OfflinePipeline, impression: Impression) -> UserState:
    """Draw the slate again with its own seed, and return the user that it was drawn for.

    Args:
        pipeline: Of the versions, prices and items that the impression names.
        impression: From the log.

    Raises:
        SlateDiffersError: The slate comes out otherwise; ``field`` says what differs.
        InvalidInputError: As in `logged_user`.
    """
    user = logged_user(impression)
    answer = pipeline.recommend(
        user, len(impression.item_ids), impression.request_id, effort=_effort(impression)
    )
    if answer.seed != impression.seed:
        raise SlateDiffersError("seed", f"is {impression.seed}; drawn again it is {answer.seed}")
    if answer.item_ids != impression.item_ids:
        pairs = zip(answer.item_ids, impression.item_ids, strict=False)
        first = next((place for place, (again, shown) in enumerate(pairs) if again != shown), None)
        where = "the lengths" if first is None else f"position {first + 1}"
        raise SlateDiffersError("item_ids", f"differ from those drawn again, first at {where}")
    return user


def drawn_propensity(pipeline: OfflinePipeline, impression: Impression, draws: int) -> Propensity:
    """Estimate the chance of each item to stand where it stood, by ``draws`` further slates.

    It is the chance of the item at its position, whatever stands elsewhere, and not that of the whole slate.

    Args:
        pipeline: Of the versions, prices and items that the impression names.
        impression: From the log.
        draws: 1 or more.

    Raises:
        InvalidInputError: As in `check_redraw`: what cannot be drawn again says nothing of its chances.
    """
    if draws < 1:
        raise InvalidInputError("draws", "must be 1 or more")
    user = check_redraw(pipeline, impression)
    effort = _effort(impression)
    hits = np.zeros(len(impression.item_ids), dtype=np.int64)
    for number in range(draws):
        # The seed of a draw comes from the request's id: other ids are independent draws.
        again = pipeline.recommend(user, len(hits), f"{impression.request_id}/{number}", effort=effort)
        for place, (drawn, shown) in enumerate(zip(again.item_ids, impression.item_ids, strict=False)):
            hits[place] += drawn == shown
    values = monte_carlo_propensity(hits, draws)
    return Propensity(PropensityKind.MONTE_CARLO, tuple(values.tolist()), draws)
