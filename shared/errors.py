"""Every error Muster raises, split by what the caller can do about it.

    MusterError
    ├── Refused              don't repeat it: the request itself is at fault
    │   ├── Invalid          a document or argument is wrong (code, pointer)
    │   ├── NotAllowed       no key, a bad key, or a key without the scope
    │   ├── NotFound         no such job, worker, agent, artifact
    │   ├── Conflict         the thing is in another state, or the idempotency key was used for another body
    │   ├── TooLarge         over a limit of size
    │   └── Misconfigured    settings are wrong (all faults at once)
    ├── Unavailable          try again later: the store or the hub can't be reached, or is full
    │   └── Throttled        the key has asked too often: try again after `retry_after_s`
    └── Bug                  stop: what can't happen did

An expected outcome (nothing to claim, a stale fence) is a value, not an error.
"""

__all__ = [
    "Bug",
    "Conflict",
    "Invalid",
    "Misconfigured",
    "MusterError",
    "NotAllowed",
    "NotFound",
    "Refused",
    "Throttled",
    "TooLarge",
    "Unavailable",
]


class MusterError(Exception):
    """Root of the tree.

    Args:
        detail: names the thing, its id, what was seen, the remedy. Never secrets or payloads.
        code: stable word for programs.
        pointer: JSON pointer into the document at fault, where there is one.
    """

    code = "error"

    def __init__(self, detail: str, *, code: str | None = None, pointer: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.pointer = pointer


class Refused(MusterError):
    """Don't repeat it: the request itself is at fault."""

    code = "refused"


class Invalid(Refused):
    """A document or argument is wrong."""

    code = "invalid"


class NotAllowed(Refused):
    """No key, a bad key, or a key without the scope."""

    code = "not_allowed"


class NotFound(Refused):
    """No such thing."""

    code = "not_found"


class Conflict(Refused):
    """The thing is in another state, or an idempotency key was used for another body."""

    code = "conflict"


class TooLarge(Refused):
    """Over a limit of size."""

    code = "too_large"


class Misconfigured(Refused):
    """Settings are wrong; `detail` lists every fault with the key, the value seen and the remedy."""

    code = "misconfigured"


class Unavailable(MusterError):
    """Try again later: the store or the hub can't be reached, or is full."""

    code = "unavailable"


class Throttled(Unavailable):
    """The key has asked too often.

    Args:
        detail: by how much.
        retry_after_s: when it may ask again.
    """

    code = "rate_limited"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Bug(MusterError):
    """Stop: what can't happen did."""

    code = "bug"
