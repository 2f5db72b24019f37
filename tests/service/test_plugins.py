"""Connectors of the operator's own: the documented example, entry points, and files that are broken."""

import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from agent.config import AgentConfig
from agent.connectors import plugins as plugins_module
from agent.connectors.base import Assignment, Connector, NotAdopted, ServiceFault
from agent.connectors.plugins import PluginSettings, plugins
from agent.connectors.registry import BUILT_IN
from shared.errors import Misconfigured
from shared.wire.job import Progress
from shared.wire.states import FailureClass
from tests.support.crews import connectors_of
from tests.support.running_agent import Surroundings

PAGE = Path(__file__).parents[2] / "docs" / "connectors.md"
MINIMAL = """
class Echo:
    service = "echo"
    def __init__(self, settings): self.settings = settings
    async def probe(self): ...
    async def run(self, job, report): ...
    async def adopt(self, job, noted, report): ...
    async def close(self): ...
def connector(settings): return Echo(settings)
"""


def example() -> str:
    (text,) = re.findall(r"```python\n(.+?)```", PAGE.read_text(), re.DOTALL)
    return str(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "connectors.d"
    folder.mkdir(mode=0o755)
    return folder


def offered(folder: Path, *services: str, **settings: Any) -> list[Connector]:
    return connectors_of(AgentConfig(services=list(services), connectors_dir=folder, **settings), {"NAME": "value"})


def assignment(tmp_path: Path, text: str) -> Assignment:
    (tmp_path / "in").write_text(text)
    return Assignment(
        job_id="default-1",
        fence=1,
        service="wordcount",
        payload={},
        inputs={"a.txt": tmp_path / "in"},
        output_dir=tmp_path,
    )


async def test_the_documented_example_is_short_and_does_jobs(folder: Path, tmp_path: Path) -> None:
    assert len([line for line in example().splitlines() if line.strip()]) <= 30
    (folder / "wordcount.py").write_text(example())
    (connector,) = offered(folder, "wordcount")
    assert (await connector.probe()).healthy
    heard: list[Progress] = []
    finished = await connector.run(assignment(tmp_path, "three short words"), heard.append)
    assert finished.values == {"a.txt": 3}
    assert [(output.name, output.path.read_text()) for output in finished.outputs] == [("counts.csv", "a.txt,3\n")]
    assert heard == [Progress(value=1.0, message="a.txt")]
    await connector.close()


async def test_a_plug_in_gets_its_table_of_the_agents_file(folder: Path, tmp_path: Path) -> None:
    (folder / "wordcount.py").write_text(example())
    (connector,) = offered(folder, "wordcount", plugins={"wordcount": {"most_words": 2}})
    with pytest.raises(ServiceFault) as caught:
        await connector.run(assignment(tmp_path, "three short words"), lambda _: None)
    assert caught.value.failure_class is FailureClass.BAD_INPUT


def test_a_plug_in_gets_its_word_and_the_environment(folder: Path) -> None:
    (folder / "echo.py").write_text(MINIMAL)
    (connector,) = offered(folder, "echo")
    settings: PluginSettings = connector.settings  # type: ignore[attr-defined]
    assert (settings.service, settings.options, settings.environ) == ("echo", {}, {"NAME": "value"})


async def test_a_job_of_its_word_reaches_the_documented_example(folder: Path, tmp_path: Path) -> None:
    (folder / "wordcount.py").write_text(example())
    around = Surroundings(tmp_path / "state")
    async with around.agent(connectors=offered(folder, "wordcount")):
        await around.until(lambda: around.broker.workers, "the agent is registered")
        assert around.broker.workers["box"].capability["services"] == ["wordcount"]


def test_files_are_looked_for_when_no_service_is_named(folder: Path) -> None:
    (folder / "echo.py").write_text(MINIMAL)
    (folder / "_draft.py").write_text("raise RuntimeError")
    (folder / "notes.txt").write_text("")
    found = connectors_of(AgentConfig(connectors_dir=folder))
    assert [connector.service for connector in found] == sorted({*BUILT_IN, "echo"})


def test_the_folder_is_in_the_state_folder_unless_told(tmp_path: Path) -> None:
    folder = tmp_path / "connectors.d"
    folder.mkdir()
    (folder / "echo.py").write_text(MINIMAL)
    (connector,) = connectors_of(AgentConfig(services=["echo"], state_dir=tmp_path))
    assert connector.service == "echo"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def connector(", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("import no_such_module", "no_such_module"),
        ("", "connector"),
        ("def connector(settings): raise ValueError('no server')", "ValueError: no server"),
        ("def connector(settings): return None", "no 'async def probe'"),
        (MINIMAL.replace("async def run", "def run"), "no 'async def run'"),
        (MINIMAL.replace("async def adopt", "def adopt"), "no 'async def adopt'"),
        (MINIMAL.replace('"echo"', '"ecco"'), "service to be 'echo', got 'ecco'"),
    ],
)
async def test_a_file_that_cant_be_loaded_is_named_and_the_agent_goes_on(folder: Path, text: str, words: str) -> None:
    (folder / "echo.py").write_text(text)
    with capture_logs() as logs:
        broken, simulation = offered(folder, "echo", "simulation")
    (line,) = [line for line in logs if line["event"] == "connector.unloadable"]
    assert line["place"] == str(folder / "echo.py")
    state = await broken.probe()
    assert (broken.service, state.healthy, simulation.service) == ("echo", False, "simulation")
    assert str(folder / "echo.py") in (state.reason or "")
    assert words in (state.reason or "")
    with pytest.raises(NotAdopted):
        await broken.adopt(assignment(folder, ""), "remote-7", lambda _: None)


async def test_a_file_without_adopt_works_and_gives_its_jobs_back_after_a_restart(folder: Path, tmp_path: Path) -> None:
    text = example()
    assert "def adopt" not in text
    (folder / "wordcount.py").write_text(text)
    (connector,) = offered(folder, "wordcount")
    assert (await connector.run(assignment(tmp_path, "two words"), lambda _: None)).values == {"a.txt": 2}
    with pytest.raises(NotAdopted, match="no 'adopt'"):
        await connector.adopt(assignment(tmp_path, ""), "remote-7", lambda _: None)


async def test_a_broken_file_is_seen_at_its_worker_with_the_reason(folder: Path, tmp_path: Path) -> None:
    (folder / "echo.py").write_text("import no_such_module")
    around = Surroundings(tmp_path / "state")
    async with around.agent(connectors=offered(folder, "echo", "simulation")):
        await around.until(lambda: around.broker.workers, "the agent is registered")
        facts = around.broker.workers["box"]
        assert facts.capability["services"] == ["simulation"]
        assert "echo.py" in facts.suspended["echo"]


@pytest.mark.parametrize("place", ["file", "folder"])
async def test_what_others_may_write_is_not_loaded(folder: Path, place: str) -> None:
    path = folder / "echo.py"
    path.write_text(MINIMAL)
    (path if place == "file" else folder).chmod(0o777)
    (connector,) = offered(folder, "echo")
    assert "chmod o-w" in ((await connector.probe()).reason or "")


@pytest.mark.parametrize(("name", "words"), [("comfyui.py", "rename it"), ("Echo.py", "a-z"), ("a b.py", "a-z")])
def test_a_file_whose_name_is_no_word_of_its_own_is_left_out_with_the_reason(
    folder: Path, name: str, words: str
) -> None:
    (folder / name).write_text(MINIMAL)
    with capture_logs() as logs:
        assert plugins(folder, taken=BUILT_IN) == {}
    (line,) = logs
    assert (line["event"], line["place"]) == ("connector.ignored", str(folder / name))
    assert words in line["reason"]


def test_a_word_that_nothing_brings_is_refused_with_the_nearest(folder: Path) -> None:
    (folder / "echo.py").write_text(MINIMAL)
    with pytest.raises(Misconfigured, match="did you mean 'echo'"):
        offered(folder, "ecco")


@pytest.fixture
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with the entry points `echo` and `gone`."""
    (folder.parent / "muster_echo_package.py").write_text(MINIMAL)
    monkeypatch.syspath_prepend(folder.parent)
    entries = [
        EntryPoint("echo", "muster_echo_package:connector", plugins_module.GROUP),
        EntryPoint("gone", "muster_no_package:connector", plugins_module.GROUP),
    ]
    monkeypatch.setattr(plugins_module, "entry_points", lambda group: [one for one in entries if one.group == group])


@pytest.mark.usefixtures("installed")
async def test_entry_points_bring_connectors(folder: Path) -> None:
    echo, gone = offered(folder, "echo", "gone")
    assert type(echo).__name__ == "Echo"
    assert "muster_no_package" in ((await gone.probe()).reason or "")


@pytest.mark.usefixtures("installed")
def test_a_file_wins_over_an_entry_point(folder: Path) -> None:
    (folder / "echo.py").write_text(MINIMAL.replace("class Echo", "class File").replace("Echo(", "File("))
    with capture_logs() as logs:
        (connector,) = offered(folder, "echo")
    assert type(connector).__name__ == "File"
    assert any("another plug-in" in str(line.get("reason")) for line in logs)
