"""Collecting what the skew gate decides by: from the event log where traffic is logged, else from the
online store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np
import pandas as pd

from streamrec.contracts.errors import DependencyError, InvalidInputError, NotReadyError
from streamrec.contracts.results import Reason
from streamrec.contracts.specification.model_specification import ModelSpecification
from streamrec.features.store import FeatureStore
from streamrec.gates.gate_results import reason
from streamrec.gates.predictions import Predictions, with_answers
from streamrec.gates.quality.evidence import estimate
from streamrec.gates.skew.features import ColumnSkew, compare_features, differing_rows
from streamrec.gates.skew.judgement import Replay, ServedFrom, SkewEvidence
from streamrec.gates.skew.logged_requests import REQUEST_ID, LoggedRequests

SAMPLED_UNITS: Final = 500
"""Units whose row of the online store is compared where nothing is logged."""

OnlineFeatures = Callable[[Sequence[str]], pd.DataFrame]
"""What the online store gives for units now: one row each, in their order, one column a feature."""


@dataclass(frozen=True)
class SkewSources:
    """Where features and answers come from.

    Attributes:
        logged: What the event log holds of the slot.
        trained: Computes features as training does, of a table with unit and at (UTC): rows in its order.
            None where requests bring all features.
        answers: Asks the candidate: of a request table with its truth, its predictions.
        online: What the online store gives now; None where there is no store.
        units: Units to ask it for, where nothing is logged.
        now: The moment of that.
    """

    logged: LoggedRequests
    trained: Callable[[pd.DataFrame], pd.DataFrame] | None
    answers: Callable[[pd.DataFrame], Predictions]
    online: OnlineFeatures | None
    units: Sequence[str]
    now: datetime


def collect_skew(
    subject: str, specification: ModelSpecification, sources: SkewSources, claimed: Predictions | None
) -> SkewEvidence:
    """Compare the features, and replay the metric where enough outcomes are known.

    Args:
        subject: The candidate, ``NAME@VERSION``.
        specification: Its specification.
        sources: Where everything comes from.
        claimed: What the candidate answered to the evaluation requests.

    Raises:
        InvalidInputError: A source gave rows that are not the ones that were asked for.
    """
    logged, trained = sources.logged, sources.trained
    if len(logged.requests) == 0 and trained is not None:
        columns, problem = _of_online_store(sources, trained)
        return SkewEvidence(subject, ServedFrom.ONLINE_STORE, columns, logged.count, problem=problem)
    told = _with_known_outcome(logged, specification)
    # Training's features are computed while the candidate answers by those that were served.
    with ThreadPoolExecutor(max_workers=1) as pool:
        computing = pool.submit(_as_trained, logged, trained, specification.skew.given)
        as_served = None if told is None else sources.answers(_with_features(told, logged.features))
        computed = computing.result()
    return SkewEvidence(
        subject=subject,
        served_from=ServedFrom.REQUESTS if trained is None else ServedFrom.LOG,
        columns=() if trained is None else _of_log(logged, computed, specification.skew.given),
        logged_requests=logged.count,
        replay=None
        if told is None or as_served is None
        else _replay(specification, sources, told, computed, as_served, claimed),
    )


def online_user_features(store: FeatureStore, units: Sequence[str]) -> pd.DataFrame:
    """The rows of users in a feature store, as columns; a user whom it does not know has none of them.

    Raises:
        DependencyError: The online store did not answer.
        NotReadyError: Nothing has been materialised.
    """
    names = ("country", "language", "age_band", "signup_channel", "history", "disliked", "skipped")
    rows = []
    for unit in units:
        found = store.user_features(unit)
        if found is None:
            rows.append(dict.fromkeys(names))
            continue
        activity = found.activity
        rows.append(
            {
                "country": found.country,
                "language": found.language,
                "age_band": found.age_band,
                "signup_channel": found.signup_channel,
                "history": activity.history.item_ids,
                "disliked": activity.disliked.item_ids,
                "skipped": activity.skipped.item_ids,
            }
        )
    return pd.DataFrame(rows, columns=list(names))


def _of_log(logged: LoggedRequests, computed: pd.DataFrame, given: Sequence[str]) -> tuple[ColumnSkew, ...]:
    """One row a unit, its newest: rows of one unit are not independent."""
    newest = ~logged.requests["unit"].duplicated(keep="last").to_numpy()
    return compare_features(
        computed[newest].reset_index(drop=True),
        logged.features[newest].reset_index(drop=True),
        ignored=given,
    )


def _of_online_store(
    sources: SkewSources, trained: Callable[[pd.DataFrame], pd.DataFrame]
) -> tuple[tuple[ColumnSkew, ...], Reason | None]:
    if sources.online is None:
        return (), reason(
            "no_served_features",
            "skew",
            "nothing is logged of the slot and there is no online store to ask: materialise features first "
            "(streamrec features materialize)",
        )
    units = list(dict.fromkeys(sources.units))
    places = np.unique(np.linspace(0, len(units) - 1, min(SAMPLED_UNITS, len(units))).astype(np.int64))
    sample = [units[place] for place in places]
    entities = pd.DataFrame({"unit": sample, "at": pd.Series([sources.now] * len(sample))})
    with ThreadPoolExecutor(max_workers=1) as pool:  # beside each other: both take a second
        computing = pool.submit(trained, entities)
        try:
            served = sources.online(sample)
        except (DependencyError, NotReadyError) as error:
            return (), reason("no_served_features", "skew", f"the online store gave no features: {error}")
        computed = _checked(computing.result(), len(sample))
    # What only a request knows, such as what its page has shown, is in no store.
    only_of_requests = [name for name in computed.columns if name not in served.columns]
    return compare_features(computed, _checked(served, len(sample)), ignored=only_of_requests), None


def _as_trained(
    logged: LoggedRequests,
    trained: Callable[[pd.DataFrame], pd.DataFrame] | None,
    given: Sequence[str],
) -> pd.DataFrame:
    """Features of the logged requests as training computes them."""
    if len(logged.requests) == 0 or trained is None:
        return logged.features  # requests bring them: there is no second way
    computed = _checked(trained(logged.requests[["unit", "at"]]), len(logged.requests))
    # What a request brings is nobody else's to compute: the replay is given it as it was.
    return computed.assign(**{name: logged.features[name] for name in given if name in logged.features})


def _checked(table: pd.DataFrame, rows: int) -> pd.DataFrame:
    if len(table) != rows:
        raise InvalidInputError("skew.features", f"must give {rows} rows, one for each asked for")
    return table.reset_index(drop=True)


def _with_known_outcome(logged: LoggedRequests, specification: ModelSpecification) -> pd.DataFrame | None:
    """Logged requests with their truth, under their number in the log; None where too few have one."""
    listed = specification.task.answers_items
    truth = logged.taken if listed else logged.labels
    known = logged.requests[REQUEST_ID].isin(truth.keys()).to_numpy(dtype=bool)
    if known.sum() < specification.skew.minimum_rows:
        return None
    told = logged.requests[known].assign(split="validation")
    if listed:
        told["relevant"] = [list(logged.taken[request_id]) for request_id in told[REQUEST_ID]]
    else:
        told["label"] = [logged.labels[request_id] for request_id in told[REQUEST_ID]]
    return told


def _with_features(told: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    """Requests with the features of the same numbers."""
    joined = pd.concat([told, features.loc[told.index]], axis=1)
    return joined.reset_index(drop=True)


def _replay(
    specification: ModelSpecification,
    sources: SkewSources,
    told: pd.DataFrame,
    computed: pd.DataFrame,
    served: Predictions,
    claimed: Predictions | None,
) -> Replay:
    given = specification.skew.given
    differing = differing_rows(
        computed.loc[told.index], sources.logged.features.loc[told.index], ignored=given
    )
    # The same request gets the same answer: the artifact gate has seen to that.
    trained = (
        with_answers(served, sources.answers(_with_features(told[differing], computed)), differing)
        if differing.any()
        else served
    )
    return Replay(
        metric=specification.quality_metric,
        at=specification.quality.at if specification.task.answers_items else None,
        requests=len(told),
        as_served=estimate(served, specification),
        as_trained=estimate(trained, specification),
        claimed=None if claimed is None else estimate(claimed, specification),
    )
