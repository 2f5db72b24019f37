"""What is wrong with a document: one sentence with the remedy, a stable code, and where."""

__all__ = ["InvalidDocument"]


class InvalidDocument(ValueError):
    """A document was refused; nothing of it was used.

    Args:
        code: stable word for programs, such as `invalid_requirement`.
        detail: sentence for people: what was seen, what was expected, the remedy.
        pointer: JSON pointer (RFC 6901) to the fault, `""` for the whole document.
    """

    def __init__(self, code: str, detail: str, pointer: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.pointer = pointer

    def __str__(self) -> str:
        return f"{self.detail} (at {self.pointer or 'the document'})"

    def below(self, prefix: str) -> "InvalidDocument":
        """The same fault seen from a document in which this one stands at `prefix`."""
        return InvalidDocument(self.code, self.detail, prefix + self.pointer)
