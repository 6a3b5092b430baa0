"""Names that the declarations in ``feature_repo`` and the code around them share; imports no Feast."""

from __future__ import annotations

from typing import Final

FOLDER_VARIABLE: Final = "STREAMREC_FEATURES_FOLDER"
PROJECT_VARIABLE: Final = "STREAMREC_FEATURES_PROJECT"
REDIS_VARIABLE: Final = "STREAMREC_REDIS_CONNECTION"
"""Environment variables of the Feast configuration; ``feature_repo/sources.py`` says what they hold."""

OFFLINE_FOLDER: Final = "offline"
"""Below the folder of features: one Parquet file a table."""

PROFILE_VIEW: Final = "user_profile"
ACTIVITY_VIEW: Final = "user_activity"
REJECTIONS_VIEW: Final = "user_rejections"
ITEM_CONTENT_VIEW: Final = "item_content"
ITEM_POPULARITY_VIEW: Final = "item_popularity"

ONLINE_SERVICE: Final = "gateway_v1"
"""The feature service that is read online, for every request."""
