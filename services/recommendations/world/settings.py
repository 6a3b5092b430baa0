"""Every constant of the simulated StreamRec, one dataclass a group.

The constants marked CALIBRATED were set by looking at the old policy alone, on seeds 1 to 8 (see
`calibration`). The others are choices of structure. What any other policy achieves is a finding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from streamrec.contracts.errors import InvalidInputError

SLATE_SIZE: Final = 10
"""Items on one page of recommendations."""

TICKS_PER_DAY: Final = 4
"""The simulation moves in quarters of a day; a user has at most one session in each."""

TICK_SECONDS: Final = 86_400 // TICKS_PER_DAY

START_SECONDS: Final = 1_748_736_000
"""First second of the logged window: 2025-06-01T00:00:00Z. Fixed: the same seed gives the same bytes."""

TIME_OF_DAY: Final = (0.5, 0.9, 1.1, 1.5)
"""Relative chance of a session per tick of the day, night first; the mean is 1."""

MAXIMUM_USERS: Final = 500_000
MAXIMUM_ITEMS: Final = 2_000_000
MINIMUM_ITEMS: Final = 240
"""Twenty items for each of the dozen languages: below that no language has a catalogue worth the name."""
MAXIMUM_DAYS: Final = 365


@dataclass(frozen=True)
class CatalogueSettings:
    """How creators and items come to be."""

    items_per_creator: float = 10.0
    """Mean items of one creator; the spread is long-tailed."""

    language_skew: float = 1.0
    """Exponent on the base shares of the creator languages: 0 makes them equal."""

    published_in_window_share: float = 0.15
    """Share of the items that are published during the simulated days, evenly spread."""

    past_catalogue_days: float = 200.0
    """Mean age in days, at the start, of the items published before it (exponential)."""

    creator_appeal_sd: float = 0.5
    """Spread between creators of how strongly their items invite a click, in logits."""

    item_appeal_sd: float = 0.7
    """Spread between the items of one creator of the same, in logits."""

    quality_sd: float = 0.7
    """Spread of how well an item keeps what it promises, in logits of the share watched; independent of
    appeal, so that what is clicked most is not what satisfies most."""

    second_topic_weight: float = 0.5
    """Weight of an item's second topic in its hidden vector; the first topic weighs 1."""

    creator_weight: float = 0.45
    """Weight of the creator's own style in the hidden vector of an item."""

    noise_weight: float = 0.45
    """Weight of what is particular to the item in its hidden vector."""


@dataclass(frozen=True)
class PopulationSettings:
    """Who the users are."""

    new_user_share: float = 0.3
    """Share of the users that sign up during the simulated days; the others were there before."""

    country_skew: float = 0.4
    """Exponent on the base shares of the countries: 0 makes them equal. CALIBRATED to a creator-language
    exposure Gini of about 0.48 under the old policy."""

    interface_language_is_primary: float = 0.85
    """Probability that the interface language, which is observed, is the one the user consumes most."""

    second_language_share: float = 0.6
    """Share of the users that consume in a second language."""

    second_language_is_english: float = 0.35
    """Probability that the second language of a user who does not consume mainly in English is English; drawn
    by the catalogue otherwise. CALIBRATED together with `country_skew`."""

    second_language_logit: tuple[float, float] = (-1.2, 0.0)
    """Range of the interest, in logits against the first language, in items of the second."""

    other_language_logit: float = -3.5
    """The same for every other language: a user hardly ever opens what that user does not understand."""

    segment_taste_share: float = 0.4
    """Share of the variance of a taste that country, age band and signup channel explain."""

    sessions_per_day: float = 0.5
    """Mean over users of the sessions a day at neutral satisfaction. CALIBRATED to 30-60 interactions per
    existing user over 30 days under the old policy."""

    sessions_per_day_sigma: float = 0.6
    """Spread between users of the same (sigma of a log-normal distribution)."""

    past_interactions: float = 12.0
    """Mean interactions that a user who was there before the window brings along. They are not logged;
    the old policy knows them."""


@dataclass(frozen=True)
class BehaviourSettings:
    """What a user does with one page. Logits unless said otherwise."""

    click_bias: float = -4.0
    """Interest in an item of the own language without any match of taste."""

    watch_bias: float = -1.2
    """The same for the share watched after a click."""

    taste_weight: float = 5.0
    """Interest per unit of cosine between taste and item."""

    focus_bonus: float = 1.2
    """Added for items of the topic that the session is about."""

    creator_bonus: float = 1.2
    """Added for items of the creator of the last item consumed."""

    watch_noise_sd: float = 1.0
    """Spread of the share watched that nothing explains."""

    position_bias_exponent: float = 0.6
    """The user looks at position j (from 1) with probability ``j ** -exponent``: the position-based model
    of Richardson et al. 2007 with the power law of Joachims et al. 2017, section 6.1."""

    repeat_factor: float = 0.3
    """Factor on the click probability of an item already shown in the same session."""

    play_share: float = 0.15
    """From this share watched on, a click counts as a play."""

    complete_share: float = 0.85
    """From this share watched on, a play counts as complete."""

    focus_taste_weight: float = 6.0
    """Weight of the taste in drawing what a session is about."""

    focus_carries_over: float = 0.5
    """Probability that a session is about what the one before ended with."""

    focus_moves: float = 0.5
    """Probability that consuming an item of a topic moves the interest on to one of its successor topics
    (to that topic itself otherwise): the structure that only an order-aware model can use."""

    search_share: float = 0.5
    """Share of the sessions that begin with an item the user looked for without any recommendation: these are
    logged too, but they are no exposure and say nothing for or against what is shown."""

    search_candidates: int = 8
    """Items of the topic in focus that such a search brings up; the user takes the most interesting."""

    next_page_base: float = 0.45
    """Probability of asking for another page after one without a consumed item."""

    next_page_bonus: float = 0.25
    """Added to that after a page with one."""

    maximum_pages: int = 5
    """Pages of one session at most."""


@dataclass(frozen=True)
class RetentionSettings:
    """How satisfaction drives return and churn."""

    initial_satisfaction: float = 0.5
    """What a user expects before the first session, on the scale 0 to 1."""

    page_satisfaction_rate: float = 1.2
    """Satisfaction with a page is ``1 - exp(-rate * total share watched)``: 0 when nothing was worth a click,
    with diminishing returns."""

    memory: float = 0.5
    """Weight of the past in the running satisfaction; the last session has the rest."""

    leave_floor: float = 0.12
    """Probability of leaving for good after a first session whatever was shown: no policy can remove it."""

    leave_range: float = 0.30
    """Further probability of leaving for a user who is not satisfied at all. CALIBRATED to a seven-day churn
    of new users of about 42 % under the old policy."""

    leave_pivot: float = 0.35
    """Running satisfaction at which half of `leave_range` applies."""

    leave_temperature: float = 0.10
    """Width of that transition, in satisfaction."""

    habit_sessions: float = 3.0
    """Sessions after the first at which the probability of leaving has halved: habit protects."""

    past_sessions: int = 80
    """Sessions that users from before the window have behind them: few of them leave within 30 days."""

    return_base: float = 0.5
    """Factor on a user's session rate at satisfaction 0; it grows linearly by `return_slope`."""

    return_slope: float = 1.0
    """With the base of 0.5, neutral satisfaction leaves the rate as it is."""


@dataclass(frozen=True)
class WorldSettings:
    """A world is its settings: the same settings give the same bytes.

    Raises:
        InvalidInputError: A size or the seed is out of bounds; names the field.
    """

    users: int = 5_000
    """Users of the logged window, new ones included."""

    items: int = 20_000
    """Items of the catalogue, those published during the window included."""

    seed: int = 1
    """Seed of everything random, not negative."""

    days: int = 30
    """Length of the logged window in days."""

    catalogue: CatalogueSettings = field(default_factory=CatalogueSettings)
    population: PopulationSettings = field(default_factory=PopulationSettings)
    behaviour: BehaviourSettings = field(default_factory=BehaviourSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("users", self.users, 1, MAXIMUM_USERS),
            ("items", self.items, MINIMUM_ITEMS, MAXIMUM_ITEMS),
            ("days", self.days, 1, MAXIMUM_DAYS),
            ("seed", self.seed, 0, 2**63 - 1),
        ):
            if not low <= value <= high:
                raise InvalidInputError(name, f"must lie between {low} and {high}, not {value}")

    @property
    def end_seconds(self) -> int:
        """First second after the logged window."""
        return START_SECONDS + self.days * 86_400
