"""Every feature, defined once for training and serving.

Only what is read per request is online. Item and creator features are small enough to be cached whole in a
replica, which reads them from the offline table: 500 item rows cost 46 ms from Redis.

A view's name is part of its stored keys. A change of meaning is a new view (``..._v2``), never an edit.
"""

import os
from datetime import timedelta

from entities import creator, item, user
from feast import FeatureView, Field
from feast.types import Array, Int64, String, UnixTimestamp
from sources import (
    creators,
    item_popularity_weekly,
    items,
    user_activity_sessions,
    user_rejections_sessions,
    users,
)

from streamrec.features.names import (
    ACTIVITY_VIEW,
    ITEM_CONTENT_VIEW,
    ITEM_POPULARITY_VIEW,
    PROFILE_VIEW,
    REJECTIONS_VIEW,
)

_FOREVER = timedelta(0)
_HISTORY_TTL = timedelta(days=float(os.environ.get("STREAMREC_HISTORY_TTL_DAYS", "0")))
"""Zero, the default, keeps a history for ever. Feast applies it to training frames; reads online apply it in
`streamrec.features`, because Feast ignores it there."""

user_profile = FeatureView(
    name=PROFILE_VIEW,
    entities=[user],
    ttl=_FOREVER,
    schema=[
        Field(name="country", dtype=String),
        Field(name="language", dtype=String),
        Field(name="age_band", dtype=String),
        Field(name="signup_channel", dtype=String),
    ],
    source=users,
    online=True,
    description="Segments, 'unknown' where not known.",
)

user_activity = FeatureView(
    name=ACTIVITY_VIEW,
    entities=[user],
    ttl=_HISTORY_TTL,
    schema=[
        Field(name="event_count", dtype=Int64, description="Positive events so far."),
        Field(name="last_event_at", dtype=UnixTimestamp, description="Time of the newest event."),
        Field(name="history", dtype=Array(String), description="Newest items, oldest of them first."),
        Field(name="history_times", dtype=Array(Int64), description="Their times, microseconds, UTC."),
    ],
    source=user_activity_sessions,
    online=True,
    description="What a user did: after each session offline, after each event online.",
)

user_rejections = FeatureView(
    name=REJECTIONS_VIEW,
    entities=[user],
    ttl=_FOREVER,
    schema=[
        Field(name="disliked", dtype=Array(String), description="Never to be shown again, oldest first."),
        Field(name="disliked_times", dtype=Array(Int64), description="Their times, microseconds, UTC."),
        Field(name="skipped", dtype=Array(String), description="To be shown lower, oldest first."),
        Field(name="skipped_times", dtype=Array(Int64), description="Their times, microseconds, UTC."),
    ],
    source=user_rejections_sessions,
    online=True,
    description="What a user did not want: after each session offline, after each event online.",
)

item_content = FeatureView(
    name=ITEM_CONTENT_VIEW,
    entities=[item],
    ttl=_FOREVER,
    schema=[
        Field(name="title", dtype=String),
        Field(name="creator_id", dtype=String),
        Field(name="creator_language", dtype=String),
        Field(name="topics", dtype=Array(String)),
        Field(name="published_at", dtype=UnixTimestamp),
    ],
    source=items,
    online=False,
    description="What is known of an item before anyone watched it.",
)

item_popularity = FeatureView(
    name=ITEM_POPULARITY_VIEW,
    entities=[item],
    ttl=_FOREVER,
    schema=[Field(name="interaction_count", dtype=Int64, description="Interactions so far.")],
    source=item_popularity_weekly,
    online=False,
    description="How often an item was watched, at the end of each week.",
)

creator_statistics = FeatureView(
    name="creator_statistics",
    entities=[creator],
    ttl=_FOREVER,
    schema=[
        Field(name="language", dtype=String, description="Language of most of the creator's items."),
        Field(name="item_count", dtype=Int64, description="Items so far."),
        Field(name="interaction_count", dtype=Int64, description="Interactions with them so far."),
    ],
    source=creators,
    online=False,
    description="A creator's catalogue and audience, at the end of each week.",
)
