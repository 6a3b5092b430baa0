"""Which features a consumer reads. A service is named for its consumer and versioned with it."""

from feast import FeatureService
from feature_views import (
    creator_statistics,
    item_content,
    item_popularity,
    user_activity,
    user_profile,
    user_rejections,
)

from streamrec.features.names import ONLINE_SERVICE

gateway_v1 = FeatureService(
    name=ONLINE_SERVICE,
    features=[user_profile, user_activity, user_rejections],
    description="The user row that every request reads online.",
)
retrieval_v1 = FeatureService(
    name="retrieval_v1",
    features=[user_profile, user_activity, user_rejections, item_content],
    description="Two-tower retrieval: the user's history and segments, the item's content.",
)
ranking_v1 = FeatureService(
    name="ranking_v1",
    features=[user_profile, user_activity, user_rejections, item_content, item_popularity],
    description="The ranker: the user's history, the candidate's content and popularity.",
)
cold_start_v1 = FeatureService(
    name="cold_start_v1",
    features=[user_profile, user_activity],
    description="Bayesian cold start: segments and the first few events.",
)
reranking_v1 = FeatureService(
    name="reranking_v1",
    features=[item_content[["creator_id", "creator_language"]], creator_statistics],
    description="Exposure-aware re-ranking: the creator, the creator's language and audience.",
)
