"""Where the store is, for commands that run beside the hub."""

from hub.config import HubConfig
from shared.errors import Unavailable
from shared.store.embedded_files import LOOPBACK, StoreFiles
from shared.store.embedded_locks import server_lives

__all__ = ["store_url_of"]


def store_url_of(config: HubConfig) -> str:
    """The URL of the configured store; of an embedded one only while it runs.

    Raises:
        Unavailable: the embedded store doesn't run.
        Misconfigured: its folder is damaged.
    """
    if not config.embedded:
        return config.redis_url
    files = StoreFiles(config.data_dir)
    if not files.record_file.exists() or not server_lives(files.lock_file):
        raise Unavailable(f"no embedded store runs in {config.data_dir}: start it with muster-hub serve --embedded")
    record = files.record()
    return f"redis://:{record.password}@{LOOPBACK}:{record.port}/0"
