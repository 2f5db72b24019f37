"""Where the store is, for commands that run beside the hub."""

from hub.config import HubConfig
from shared.errors import Unavailable
from shared.store.embedded_files import LOOPBACK, StoreFiles
from shared.store.embedded_locks import server_lives

__all__ = ["store_url_of"]


def store_url_of(config: HubConfig) -> str:
    """The URL of the configured store; of an embedded one only while it runs.

    A store that runs in the data directory is the one meant, also without `embedded`, unless another one is named.

    Raises:
        Unavailable: the embedded store doesn't run.
        Misconfigured: its folder is damaged.
    """
    files = StoreFiles(config.data_dir)
    runs = files.record_file.exists() and server_lives(files.lock_file)
    names_another = config.redis_url != HubConfig().redis_url
    if not config.embedded and (names_another or not runs):
        return config.redis_url
    if not runs:
        raise Unavailable(f"no embedded store runs in {config.data_dir}: start it with muster-hub serve --embedded")
    record = files.record()
    return f"redis://:{record.password}@{LOOPBACK}:{record.port}/0"
