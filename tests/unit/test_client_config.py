"""The client's settings and its file."""

import stat
from pathlib import Path

import pytest

from shared.client_config import client_file, load_client, write_client_config
from shared.errors import Misconfigured


def test_without_any_setting_the_local_hub_is_meant(tmp_path: Path) -> None:
    config = load_client(environ={"HOME": str(tmp_path)})
    assert (config.url, config.key) == ("http://127.0.0.1:3001", None)


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    write_client_config(client_file(environ), "http://127.0.0.1:4000", 'mk_odd"\\ü')
    config = load_client(environ=environ)
    assert (config.url, config.key) == ("http://127.0.0.1:4000", 'mk_odd"\\ü')


def test_the_environment_is_stronger_than_the_file(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "MUSTER_URL": "https://hub.example", "MUSTER_KEY": "mk_env"}
    write_client_config(client_file(environ), "http://127.0.0.1:4000", "mk_file")
    config = load_client(environ=environ)
    assert (config.url, config.key) == ("https://hub.example", "mk_env")


def test_only_the_owner_can_read_the_file_also_when_it_was_open_before(tmp_path: Path) -> None:
    file = tmp_path / "muster/client.toml"
    file.parent.mkdir()
    file.write_text("")
    file.chmod(0o644)
    write_client_config(file, "http://127.0.0.1:3001", None)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == 'url = "http://127.0.0.1:3001"\n'


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "client.toml"
    write_client_config(file, "http://127.0.0.1:1", None)
    with pytest.raises(TypeError):
        write_client_config(file, object(), None)  # type: ignore[arg-type]  # JSON refuses it
    assert file.read_text() == 'url = "http://127.0.0.1:1"\n'
    assert list(tmp_path.iterdir()) == [file]


def test_a_url_without_a_scheme_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"expected url to be text matching \^https\?://, got 'hub:3001'"):
        load_client(environ={"HOME": str(tmp_path), "MUSTER_URL": "hub:3001"})
