"""How MLflow's API wants to be asked: page after page, and by names of its alphabet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

_PAGE_SIZE: Final = 200


def all_pages(search: Callable[..., Any]) -> Iterator[Any]:
    """Yield what an MLflow search finds, page after page."""
    token: str | None = None
    while True:
        page = search(max_results=_PAGE_SIZE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def mlflow_name(name: str) -> str:
    """Return a metric's or parameter's name in MLflow's alphabet: ``ndcg@10`` becomes ``ndcg_at_10``."""
    spelled = name.replace("@", "_at_")
    return "".join(letter if letter.isalnum() or letter in "_-./ :" else "_" for letter in spelled)[:250]
