"""Settings: who wins, what text means, and how faults are told."""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from hub.config import HubConfig, load_hub
from shared.config import describe, load
from shared.config_paths import config_file, state_dir
from shared.errors import Misconfigured

Token = Annotated[str, Meta(min_length=8)]


class Inner(msgspec.Struct, frozen=True, kw_only=True):
    port: int = 1


class Example(msgspec.Struct, frozen=True, kw_only=True):
    port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on", extra={"env": "EX_PORT"})] = 3001
    rate: Annotated[Annotated[float, Meta(gt=0)] | None, Meta(extra={"env": "EX_RATE"})] = None
    open: Annotated[bool, Meta(extra={"env": "EX_OPEN"})] = True
    mode: Annotated[Literal["fast", "safe"], Meta(extra={"env": "EX_MODE"})] = "safe"
    token: Annotated[Token | None, Meta(extra={"env": "EX_TOKEN", "secret": True})] = None
    folder: Annotated[Path, Meta(extra={"env": "EX_FOLDER"})] = Path("/srv")
    pools: Annotated[list[str], Meta(extra={"env": "EX_POOLS"})] = msgspec.field(default_factory=lambda: ["default"])
    sizes: Annotated[list[int], Meta(extra={"env": "EX_N"})] = msgspec.field(default_factory=list)
    inner: Inner = msgspec.field(default_factory=Inner)
    services: dict[str, Inner] = msgspec.field(default_factory=dict)


class Needy(msgspec.Struct, frozen=True, kw_only=True):
    url: Annotated[str, Meta(extra={"env": "NEEDY_URL"})]


def toml(folder: Path, text: str) -> Path:
    file = folder / "example.toml"
    file.write_text(text)
    return file


def faults(settings: type[msgspec.Struct] = Example, **sources: Any) -> list[str]:
    with pytest.raises(Misconfigured) as caught:
        load(settings, **{"environ": {}, **sources})
    return caught.value.detail.splitlines()


def test_the_stronger_source_wins(tmp_path: Path) -> None:
    file = toml(tmp_path, "port = 3")
    sources: dict[str, Any] = {"flags": {"port": 1}, "environ": {"EX_PORT": "2"}, "file": file, "detected": {"port": 4}}
    ports = [load(Example, **sources).port]
    weaker: list[dict[str, Any]] = [
        {"flags": {"port": None}},
        {"environ": {"EX_PORT": ""}},
        {"file": None},
        {"detected": None},
    ]
    for gone in weaker:
        sources |= gone
        ports.append(load(Example, **sources).port)
    assert ports == [1, 2, 3, 4, 3001]


@pytest.mark.parametrize("word", ["1", "true", "YES", "on", " True "])
def test_words_for_true(word: str) -> None:
    assert load(Example, environ={"EX_OPEN": word}).open is True


@pytest.mark.parametrize("word", ["0", "false", "NO", "off"])
def test_words_for_false(word: str) -> None:
    assert load(Example, environ={"EX_OPEN": word}).open is False


def test_environment_text_becomes_the_settings_type() -> None:
    environ = {
        "EX_PORT": "80",
        "EX_RATE": "2",
        "EX_MODE": "fast",
        "EX_TOKEN": "null-and-void",
        "EX_FOLDER": "/data",
        "EX_POOLS": "a, b,,c",
        "EX_N": "1,2",
    }
    found = load(Example, environ=environ)
    assert (found.port, found.rate, found.mode, found.token) == (80, 2.0, "fast", "null-and-void")
    assert (found.folder, found.pools, found.sizes) == (Path("/data"), ["a", "b", "c"], [1, 2])


def test_tables_come_from_the_file(tmp_path: Path) -> None:
    found = load(Example, environ={}, file=toml(tmp_path, "[inner]\nport = 2\n[services.a]\nport = 5"))
    assert (found.inner.port, found.services) == (2, {"a": Inner(port=5)})


def test_flags_may_be_what_the_command_line_parsed() -> None:
    found = load(Example, flags={"folder": Path("/x"), "pools": ("a",), "open": False}, environ={})
    assert (found.folder, found.pools, found.open) == (Path("/x"), ["a"], False)


def test_a_secret_is_read_from_the_file_that_its_name_file_names(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("hunter2hunter2\n")
    assert load(Example, environ={"EX_TOKEN_FILE": str(secret)}).token == "hunter2hunter2"


def test_a_name_and_its_file_together_are_refused(tmp_path: Path) -> None:
    lines = faults(environ={"EX_TOKEN": "hunter2hunter2", "EX_TOKEN_FILE": "/run/token"})
    assert lines == ["expected one of EX_TOKEN and EX_TOKEN_FILE, got both; unset one"]


def test_a_name_file_that_is_missing_is_told(tmp_path: Path) -> None:
    (line,) = faults(environ={"EX_TOKEN_FILE": str(tmp_path / "none")})
    assert line.startswith("expected EX_TOKEN_FILE to name a readable file")


def test_all_faults_are_told_together_with_place_and_remedy(tmp_path: Path) -> None:
    file = toml(tmp_path, 'mode = "slow"\nprot = 1\n[services.a]\nprt = 1')
    lines = faults(flags={"rate": 0.0}, environ={"EX_PORT": "99999", "EX_OPEN": "maybe", "EX_N": "1,x"}, file=file)
    assert lines == [
        f"expected a known key, got 'prot'; did you mean 'port'? ({file})",
        f"expected a known key, got 'services.a.prt'; did you mean 'port'? ({file})",
        "expected port to be an integer 0-65535, got '99999' (EX_PORT); correct it, or leave it out for '3001'",
        "expected rate to be a number > 0, got 0.0 (--rate); correct it, or leave it out",
        "expected open to be true or false, got 'maybe' (EX_OPEN); correct it, or leave it out for 'true'",
        f"expected mode to be one of fast, safe, got 'slow' ({file}); correct it, or leave it out for 'safe'",
        (
            "expected sizes to be a list, each an integer (at [1]: expected int), got '1,x' (EX_N); "
            "correct it, or leave it out"
        ),
    ]


def test_a_secrets_value_is_never_told(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("hunter2")
    places: list[dict[str, Any]] = [
        {"environ": {"EX_TOKEN": "hunter2"}},
        {"environ": {"EX_TOKEN_FILE": str(secret)}},
        {"flags": {"token": "hunter2"}},
        {"file": toml(tmp_path, 'token = "hunter2"')},
    ]
    for sources in places:
        (line,) = faults(**sources)
        assert "(secret)" in line
        assert "hunter2" not in line


def test_a_wrong_type_in_the_file_is_not_guessed_at(tmp_path: Path) -> None:
    (line,) = faults(file=toml(tmp_path, 'port = "80"'))
    assert "an integer 0-65535, got '80'" in line


def test_a_fault_inside_a_table_names_its_place(tmp_path: Path) -> None:
    (line,) = faults(file=toml(tmp_path, '[inner]\nport = "x"'))
    assert "inner to be a table (at port: expected int)" in line


def test_a_setting_that_must_be_given_says_how() -> None:
    assert faults(Needy) == ["expected url to be set, got nothing; set --url, NEEDY_URL or url in the file"]


def test_a_file_that_is_named_must_be_there_and_be_toml(tmp_path: Path) -> None:
    assert "expected a configuration file" in faults(file=tmp_path / "none.toml")[0]
    assert "(at line 1, column 8)" in faults(file=toml(tmp_path, "port = ="))[0]


def test_a_bad_file_does_not_hide_other_faults(tmp_path: Path) -> None:
    lines = faults(environ={"EX_PORT": "x"}, file=tmp_path / "none.toml")
    assert [line.partition(", got")[0] for line in lines] == [
        "expected a configuration file",
        "expected port to be an integer 0-65535",
    ]


def test_describe_tells_name_environment_default_and_meaning() -> None:
    rows = {row.key: row for row in describe(Example)}
    port = rows["port"]
    assert (port.flag, port.env, port.default, port.meaning) == ("--port", "EX_PORT", "3001", "port to listen on")
    assert [rows[key].default for key in ("open", "pools", "token", "inner")] == ["true", "default", "", ""]
    assert rows["token"].secret
    assert describe(Needy)[0].default == "required"


def test_the_hub_knows_every_promised_environment_name() -> None:
    promised = {"REDIS_URL", "HUB_HOST", "HUB_PORT", "WS_PORT", "WS_AUTH_TOKEN", "MAX_JOB_TIMEOUT_MINUTES"}
    promised |= {"DEFAULT_JOB_PRIORITY", "HUB_DATA_DIR", "HUB_ARTIFACTS_URL", "HUB_TLS_CERT", "HUB_TLS_KEY"}
    rows = describe(HubConfig)
    assert promised <= {row.env for row in rows}
    assert all(row.meaning for row in rows)


def test_the_hubs_defaults(tmp_path: Path) -> None:
    hub = load_hub(environ={"HOME": str(tmp_path)})
    assert (hub.redis_url, hub.host, hub.port, hub.websocket_port()) == (
        "redis://localhost:6379",
        "0.0.0.0",
        3001,
        3001,
    )
    assert (hub.max_job_timeout_minutes, hub.default_job_priority) == (30, 50)
    assert hub.data_dir == tmp_path / ".local/state/muster/hub"
    assert load_hub(environ={"HOME": str(tmp_path), "WS_PORT": "3002"}).websocket_port() == 3002


def test_the_hub_reads_its_file_at_the_usual_place(tmp_path: Path) -> None:
    (tmp_path / "muster").mkdir()
    (tmp_path / "muster/hub.toml").write_text('store_bind = "0.0.0.0"')
    assert load_hub(environ={"XDG_CONFIG_HOME": str(tmp_path)}).store_bind == "0.0.0.0"


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="got only tls_cert; set HUB_TLS_KEY"):
        load_hub(environ={"HOME": str(tmp_path), "HUB_TLS_CERT": "/etc/cert.pem"})


def test_roots_files_lie_where_services_keep_theirs() -> None:
    assert config_file("hub.toml", environ={}, root=True) == Path("/etc/muster/hub.toml")
    assert state_dir("hub", environ={}, root=True) == Path("/var/lib/muster-hub")


def test_a_relative_xdg_directory_is_ignored() -> None:
    environ = {"XDG_STATE_HOME": "state", "HOME": "/home/a"}
    assert state_dir("hub", environ=environ) == Path("/home/a/.local/state/muster/hub")
