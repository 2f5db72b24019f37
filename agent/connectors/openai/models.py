"""Which models a server has, and which one a job gets.

- A server that lists its models has no others; the operator's list adds to it.
- A server that lists none is trusted with any name.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from agent.connectors.base import ServiceFault
from agent.connectors.openai.http import OpenAIHttp
from shared.wire.states import FailureClass

__all__ = ["Models"]

#: a name without a tag means this one to servers that have tags
LATEST_TAG = ":latest"


class Models:
    """The models of one server.

    Args:
        http: the server.
        configured: names the operator vouches for; the first is for jobs that name none.
        survey_s: how long a list stays good.
    """

    def __init__(self, http: OpenAIHttp, configured: Sequence[str], survey_s: float) -> None:
        self._http = http
        self._configured = tuple(configured)
        self._survey_s = survey_s
        self._listed: tuple[str, ...] = ()
        #: when the server was last asked (loop time)
        self._asked_at_s = float("-inf")

    @property
    def configured(self) -> tuple[str, ...]:
        """The operator's list."""
        return self._configured

    @property
    def names(self) -> list[str]:
        """All that are known."""
        return sorted({*self._configured, *self._listed})

    async def refresh(self) -> None:
        """Ask the server.

        Raises:
            ServiceFault: it didn't answer with a list.
        """
        self._asked_at_s = asyncio.get_running_loop().time()
        body = await self._http.get("models")
        rows = body.get("data") if isinstance(body, dict) else None
        if not isinstance(rows, list):
            message = f"{self._http.address}/models answers no list of models: is it an OpenAI-compatible server?"
            raise ServiceFault(FailureClass.SERVICE, message)
        self._listed = tuple(_names(rows))

    async def chosen(self, wanted: str | None) -> str | None:
        """The model to ask for; None: the server's own choice.

        Args:
            wanted: as the job says; None: it doesn't.

        Raises:
            ServiceFault: class `unfit`: the server doesn't list it.
        """
        if asyncio.get_running_loop().time() - self._asked_at_s > self._survey_s or not self._has(wanted):
            with suppress(ServiceFault):
                await self.refresh()
        if wanted is None:
            return self._stock()
        if not self._has(wanted):
            remedy = "OPENAI_MODELS can name more"
            raise ServiceFault(FailureClass.UNFIT, f"the server doesn't list the model '{wanted}' ({remedy})")
        return wanted

    def _stock(self) -> str | None:
        if self._configured:
            return self._configured[0]
        return self._listed[0] if len(self._listed) == 1 else None

    def _has(self, wanted: str | None) -> bool:
        known = {*self._configured, *self._listed}
        return wanted is None or not self._listed or wanted in known or wanted + LATEST_TAG in known


def _names(rows: list[Any]) -> list[str]:
    names = (row.get("id") for row in rows if isinstance(row, dict))
    return [name for name in names if isinstance(name, str) and name]
