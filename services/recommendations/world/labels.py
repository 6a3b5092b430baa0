"""The names of the simulated world and their base shares. All of it is observable.

Shares are round numbers in the order of real streaming markets; they need not add up to one.
"""

from __future__ import annotations

from typing import Final

LANGUAGES: Final = ("ar", "de", "en", "es", "fr", "hi", "id", "it", "ja", "ko", "pt", "tr")
"""Creator languages, sorted: the code of a language is its position, as in `Catalogue.languages`."""

ENGLISH: Final = LANGUAGES.index("en")

CREATOR_LANGUAGE_SHARES: Final = (4, 7, 34, 13, 7, 7, 5, 3, 7, 5, 8, 3)
"""Base share of the catalogue by language, in the order of `LANGUAGES`."""

COUNTRIES: Final = (
    ("AR", "es", 4),
    ("BR", "pt", 10),
    ("DE", "de", 7),
    ("EG", "ar", 4),
    ("ES", "es", 5),
    ("FR", "fr", 6),
    ("GB", "en", 6),
    ("ID", "id", 6),
    ("IN", "hi", 10),
    ("IT", "it", 3),
    ("JP", "ja", 7),
    ("KR", "ko", 5),
    ("MX", "es", 9),
    ("NG", "en", 4),
    ("SA", "ar", 3),
    ("TR", "tr", 4),
    ("US", "en", 18),
)
"""Country, its main language, and its base share of the users."""

MAIN_LANGUAGE_SHARE: Final = 0.85
"""Share of a country's users that consume mainly in its main language; the others take any."""

AGE_BANDS: Final = ("13-17", "18-24", "25-34", "35-44", "45-54", "55+")
AGE_BAND_SHARES: Final = (8, 24, 28, 18, 12, 10)

SIGNUP_CHANNELS: Final = ("app_store", "friend", "partner", "search", "social", "tv")
SIGNUP_CHANNEL_SHARES: Final = (28, 12, 10, 22, 20, 8)

TOPICS: Final = (
    "animals", "anime", "astronomy", "beauty", "books", "business", "cars", "chess", "comedy", "cooking",
    "crafts", "crime", "cycling", "dance", "drama", "fashion", "fitness", "football", "gaming", "gardening",
    "history", "horror", "language", "music", "nature", "news", "parenting", "politics", "science", "travel",
)  # fmt: skip
"""Topics, sorted; the first of an item's topics is its main one."""

TITLE_ADJECTIVES: Final = (
    "Bright", "Broken", "Brief", "Daily", "Distant", "Early", "Endless", "Final", "Golden", "Hidden",
    "Honest", "Late", "Little", "Live", "Local", "Lost", "Modern", "New", "Open", "Quiet", "Secret", "Simple",
    "Slow", "Small", "Strange", "True", "Wild", "Young",
)  # fmt: skip
TITLE_NOUNS: Final = (
    "Answers", "Beginnings", "Chapters", "Choices", "Days", "Diaries", "Encounters", "Evenings", "Finds",
    "Guide", "Hours", "Journeys", "Lessons", "Letters", "Minutes", "Moments", "Notes", "Paths", "Questions",
    "Rules", "Sessions", "Stories", "Talks", "Tales", "Tricks", "Voices", "Weeks", "Years",
)  # fmt: skip
