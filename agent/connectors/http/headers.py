"""Headers with their secrets filled in: `Bearer ${TOKEN}`, from the environment's TOKEN or the file TOKEN_FILE.

- A secret never gets into a message.
"""

import re
from collections.abc import Mapping

from shared.config_sources import Sources
from shared.errors import Misconfigured

__all__ = ["filled"]

SECRET = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def filled(headers: Mapping[str, str], environ: Mapping[str, str], service: str) -> dict[str, str]:
    """The headers as they are sent.

    Raises:
        Misconfigured: a secret that a header names isn't there.
    """
    sources = Sources(flags={}, environ=environ, table={}, table_name="", detected={})

    def value_of(found: re.Match[str]) -> str:
        value = sources.from_environ(found[1])
        if value is None:
            name = found[1]
            raise Misconfigured(
                f"expected {name} or {name}_FILE in the environment, for a header of [[http]] {service}"
            )
        return str(value.value)

    return {name: SECRET.sub(value_of, text) for name, text in headers.items()}
