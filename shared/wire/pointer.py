"""JSON pointers (RFC 6901): where in a document a fault stands."""

__all__ = ["step"]


def step(pointer: str, key: str | int) -> str:
    """The pointer to the member or item `key` of what `pointer` points to."""
    return f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"
