"""Users of the simulated world: observed segments and hidden tastes that depend on them in part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.recommendations.contracts.candidates import Segment
from services.recommendations.world.labels import (
    AGE_BAND_SHARES,
    AGE_BANDS,
    COUNTRIES,
    CREATOR_LANGUAGE_SHARES,
    ENGLISH,
    LANGUAGES,
    MAIN_LANGUAGE_SHARE,
    SIGNUP_CHANNEL_SHARES,
    SIGNUP_CHANNELS,
)
from services.recommendations.world.settings import PopulationSettings
from services.recommendations.world.truth import Effects, UserTruth, draw_topic_mixes, unit_rows


@dataclass(frozen=True)
class UserTable:
    """What is known of every user. Codes are positions in the tuples of `labels`.

    Attributes:
        user_ids: Length n.
        countries: Shape (n,), int32.
        languages: Shape (n,), int32: interface language.
        age_bands: Shape (n,), int32.
        signup_channels: Shape (n,), int32.
        signed_up_at: Shape (n,), int64: seconds since 1970, UTC.
    """

    user_ids: tuple[str, ...]
    countries: NDArray[np.int32]
    languages: NDArray[np.int32]
    age_bands: NDArray[np.int32]
    signup_channels: NDArray[np.int32]
    signed_up_at: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.user_ids)

    def segment(self, row: int) -> Segment:
        """Segment of one user."""
        return Segment(
            country=COUNTRIES[self.countries[row]][0],
            language=LANGUAGES[self.languages[row]],
            age_band=AGE_BANDS[self.age_bands[row]],
            signup_channel=SIGNUP_CHANNELS[self.signup_channels[row]],
        )


def draw_users(
    user_ids: tuple[str, ...],
    signed_up_at: NDArray[np.int64],
    settings: PopulationSettings,
    effects: Effects,
    rng: np.random.Generator,
) -> tuple[UserTable, UserTruth]:
    """Draw segments and tastes for the given users."""
    count = len(user_ids)
    countries = _draw_codes([share**settings.country_skew for _, _, share in COUNTRIES], count, rng)
    age_bands = _draw_codes(AGE_BAND_SHARES, count, rng)
    channels = _draw_codes(SIGNUP_CHANNEL_SHARES, count, rng)
    main_language = np.array([LANGUAGES.index(language) for _, language, _ in COUNTRIES], dtype=np.int32)

    primary = np.where(
        rng.random(count) < MAIN_LANGUAGE_SHARE,
        main_language[countries],
        rng.integers(len(LANGUAGES), size=count),
    ).astype(np.int32)
    anything = _draw_codes(np.sqrt(CREATOR_LANGUAGE_SHARES), count, rng)
    english = (primary != ENGLISH) & (rng.random(count) < settings.second_language_is_english)
    second = np.where(english, ENGLISH, anything)
    has_second = (rng.random(count) < settings.second_language_share) & (second != primary)
    low, high = settings.second_language_logit
    second_logits = rng.uniform(low, high, count)
    language_logits = np.full((count, len(LANGUAGES)), settings.other_language_logit, dtype=np.float32)
    rows = np.arange(count)
    language_logits[rows[has_second], second[has_second]] = second_logits[has_second]
    language_logits[rows, primary] = 0.0
    own_interface = rng.random(count) < settings.interface_language_is_primary
    interface = np.where(own_interface, primary, main_language[countries])

    pull = unit_rows(
        effects.countries[countries] + effects.age_bands[age_bands] + effects.signup_channels[channels]
    )
    share = settings.segment_taste_share
    individual = draw_topic_mixes(count, effects.topics, rng)
    tastes = unit_rows(np.sqrt(share) * pull + np.sqrt(1.0 - share) * individual)

    sigma = settings.sessions_per_day_sigma
    rates = settings.sessions_per_day * rng.lognormal(-0.5 * sigma**2, sigma, count)
    table = UserTable(user_ids, countries, interface.astype(np.int32), age_bands, channels, signed_up_at)
    return table, UserTruth(tastes, language_logits, rates.astype(np.float32))


def _draw_codes(
    shares: NDArray[np.float64] | list[float] | tuple[int, ...], count: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    weights = np.asarray(shares, dtype=np.float64)
    return rng.choice(len(weights), size=count, p=weights / weights.sum()).astype(np.int32)
