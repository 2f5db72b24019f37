"""The `[[http]]` tables of the agent's file: one service over HTTP each, and how to talk to it.

    [[http]]
    service = "upscale"
    url = "http://localhost:9000/jobs"
    headers = { Authorization = "Bearer ${UPSCALE_TOKEN}" }   # UPSCALE_TOKEN, or the file UPSCALE_TOKEN_FILE
    id = "/id"                                                # makes it: submit, then poll
    poll_url = "http://localhost:9000/jobs/{id}"

- JSON pointers (RFC 6901) say where things stand in the service's answers; an empty one is the whole answer.
- Secrets are named here, never written.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["HttpService"]

ID = "{id}"

Url = Annotated[str, Meta(pattern="^https?://")]
Pointer = Annotated[str, Meta(pattern="^(/.*)?$")]
Seconds = Annotated[float, Meta(gt=0)]
Word = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]


class HttpService(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[http]]` table."""

    #: the service's word in jobs
    service: Word
    #: gets the job's payload as JSON; its answer is the result, or with `id` the receipt
    url: Url
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    #: sent with each request; `${NAME}` is the environment's NAME, or what the file NAME_FILE holds
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    #: send a form: the part `payload`, and the job's inputs, each under its name
    multipart: bool = False
    #: looked at for its health, expects 2xx; None: any answer of the service's root will do
    health_url: Url | None = None
    #: way to the service; none of the environment is used
    proxy: Url | None = None

    #: where the receipt has the job's id; None: the answer is the result
    id: Pointer | None = None
    #: asked how the job is; with `{id}`
    poll_url: Url | None = None
    #: called when the job is cancelled; with `{id}`
    cancel_url: Url | None = None
    cancel_method: Literal["POST", "PUT", "DELETE"] = "POST"
    #: where the result is, once the job is done; with `{id}`; None: in the last answer to a poll
    result_url: Url | None = None

    #: where an answer to a poll has the job's status
    status: Pointer = "/status"
    #: words of the status, in any case; none of them and `running` empty: it runs
    done: list[str] = msgspec.field(default_factory=lambda: ["done", "completed", "succeeded", "success"])
    failed: list[str] = msgspec.field(default_factory=lambda: ["failed", "error", "cancelled", "canceled"])
    #: empty: every other word
    running: list[str] = msgspec.field(default_factory=list)
    #: where an answer to a poll has the progress
    progress: Pointer | None = None
    #: what stands there when all is done
    progress_max: Seconds = 1.0
    #: where the answer has the result
    result: Pointer = ""
    #: where an answer has what went wrong, for people
    error: Pointer = "/error"

    #: between two polls
    poll_s: Seconds = 1.0
    #: patience with a connection
    connect_s: Seconds = 5.0
    #: patience with an answer that isn't a result; a result may take as long as the job may
    read_s: Seconds = 30.0
    #: how long polls may fail before the job does
    unreachable_s: Seconds = 30.0
    #: patience with a cancel
    cancel_s: Annotated[float, Meta(gt=0, le=20)] = 10.0

    def __post_init__(self) -> None:
        """Refuse what doesn't fit together."""
        polls = (self.poll_url, self.cancel_url, self.result_url)
        if self.id is None and any(polls):
            raise ValueError("expected id beside poll_url, cancel_url and result_url: the pointer to the job's id")
        if self.id is not None and self.poll_url is None:
            raise ValueError("expected poll_url beside id: where to ask how the job is")
        if any(url and ID not in url for url in polls):
            raise ValueError("expected {id} in poll_url, cancel_url and result_url")
