"""Where the offline tables lie.

Paths are relative to the folder of features. The `streamrec` command gives Feast that folder as the root of
relative paths; for plain `feast`, name it in the environment:

    STREAMREC_FEATURES_FOLDER   the folder of features, absolute, for example $PWD/var/features
    STREAMREC_FEATURES_PROJECT  the Feast project; `generation.json` in that folder names the live one
    STREAMREC_REDIS_CONNECTION  only with feature_store.redis.yaml, which shows one
"""

import os

from feast import FileSource

from streamrec.features.names import FOLDER_VARIABLE, OFFLINE_FOLDER

_FOLDER = os.environ.get(FOLDER_VARIABLE, "")


def _table(name: str) -> FileSource:
    return FileSource(
        name=f"{name}_table",
        path=os.path.join(_FOLDER, OFFLINE_FOLDER, f"{name}.parquet"),  # noqa: PTH118 - may be empty: relative
        timestamp_field="event_timestamp",
    )


users = _table("users")
items = _table("items")
item_popularity_weekly = _table("item_popularity")
creators = _table("creators")
user_activity_sessions = _table("user_activity")
user_rejections_sessions = _table("user_rejections")
