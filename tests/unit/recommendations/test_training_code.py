"""A version is used again only while all the code that made its weights is the same."""

from functools import cache

import pytest

from services.recommendations.jobs.training import ENTRY_MODULES, STAGES
from streamrec.training.code_fingerprint import code_fingerprint, imported_modules, module_source

SPOKE = "services.recommendations"

source_of = cache(module_source)


@pytest.mark.parametrize("stage", STAGES)
def test_touching_any_module_that_a_stage_trains_with_changes_its_fingerprint(stage):
    def touched(changed):
        return code_fingerprint(
            ENTRY_MODULES[stage],
            read_source=lambda name: source_of(name) + ("\n# touched" if name == changed else ""),
        )

    modules = imported_modules(ENTRY_MODULES[stage])
    unrelated = ("services.cli.main", f"{SPOKE}.gateway.app", f"{SPOKE}.jobs.evaluation")
    assert not set(unrelated) & set(modules)
    fingerprints = {touched(module) for module in modules}
    assert len(fingerprints) == len(modules)
    unchanged = touched(None)
    assert unchanged not in fingerprints
    assert {touched(module) for module in unrelated} == {unchanged}


@pytest.mark.parametrize(
    ("stage", "module"),
    [
        *((stage, "streamrec.training.splits") for stage in STAGES),
        *((stage, f"{SPOKE}.training.checks") for stage in STAGES),
        *((stage, "streamrec.contracts.errors") for stage in STAGES),
        ("retrieval", f"{SPOKE}.item_index.settings"),
        ("cold_start", f"{SPOKE}.item_index.settings"),
        ("ranking", f"{SPOKE}.ranking.network"),
        ("reranking", f"{SPOKE}.pipeline.pipeline"),
        ("reranking", f"{SPOKE}.retrieval.model"),
    ],
)
def test_what_was_once_forgotten_counts(stage, module):
    assert module in imported_modules(ENTRY_MODULES[stage])
