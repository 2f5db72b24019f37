"""Write the tables of settings in docs/operations.md from the types that declare them. `--check` only compares."""

import sys
from pathlib import Path

import msgspec

from agent.config import AgentConfig
from hub.config import HubConfig
from shared.client_config import ClientConfig
from shared.config import describe

PAGE = Path("docs/operations.md")
TABLES: dict[str, type[msgspec.Struct]] = {"hub": HubConfig, "agent": AgentConfig, "client": ClientConfig}


def main() -> int:
    """The exit code."""
    before = PAGE.read_text(encoding="utf-8")
    after = before
    for name, settings in TABLES.items():
        rows = "".join(
            f"| `{row.key}` | {f'`{row.env}`' if row.env else ''} | {row.default.replace('|', '/')} | {row.meaning} |\n"
            for row in describe(settings)
        )
        table = f"| key | environment | default | meaning |\n|---|---|---|---|\n{rows}"
        before_table, _, rest = after.partition(f"<!-- settings: {name} -->\n")
        after = f"{before_table}<!-- settings: {name} -->\n{table}<!-- end -->{rest.partition('<!-- end -->')[2]}"
    if "--check" in sys.argv and after != before:
        sys.stdout.write(f"{PAGE} is behind the settings: run python scripts/settings.py\n")
        return 1
    PAGE.write_text(after, encoding="utf-8") if after != before else None
    return 0


if __name__ == "__main__":
    sys.exit(main())
