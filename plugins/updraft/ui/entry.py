"""What the plugin registers. Every component of Airflow imports this; only the API server needs what is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from updraft.addresses import URL_PREFIX, address_of


class LazyApp:
    """
    An ASGI app that is built at the first request: FastAPI and the lake's libraries stay out of
    schedulers and workers.
    """

    @cached_property
    def _app(self) -> Any:
        from updraft.ui.app import create_app

        return create_app()

    @property
    def routes(self) -> Sequence[Any]:
        """The app's routes, as Starlette's mount asks for them."""
        return list(self._app.routes)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        await self._app(scope, receive, send)


def fastapi_apps() -> list[dict[str, Any]]:
    """Return the app as Airflow mounts it."""
    return [{"name": "updraft", "app": LazyApp(), "url_prefix": URL_PREFIX}]


def external_views() -> list[dict[str, Any]]:
    """Return the places in the web UI that lead to the pages: three below Browse, two a Dag, one a run."""
    prefix = address_of("")
    return [
        {
            "name": "Quarantine",
            "href": f"{prefix}/quarantine",
            "destination": "nav",
            "category": "browse",
            "url_route": "updraft-quarantine",
        },
        {
            "name": "Data Docs",
            "href": f"{prefix}/data_docs/",
            "destination": "nav",
            "category": "browse",
            "url_route": "updraft-data-docs",
        },
        {
            "name": "Quarantine",
            "href": f"{prefix}/quarantine?dag_id={{DAG_ID}}",
            "destination": "dag",
            "url_route": "updraft-quarantine-of-dag",
        },
        {
            "name": "Models",
            "href": f"{prefix}/models",
            "destination": "nav",
            "category": "browse",
            "url_route": "updraft-models",
        },
        {
            "name": "Models",
            "href": f"{prefix}/models?dag_id={{DAG_ID}}",
            "destination": "dag",
            "url_route": "updraft-models-of-dag",
        },
        {
            "name": "Model",
            "href": f"{prefix}/models?dag_id={{DAG_ID}}&run_id={{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "updraft-model-of-run",
        },
    ]
