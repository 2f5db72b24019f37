"""What a process runs in, by the files that engines leave."""

from pathlib import Path

import pytest

from agent.probes.container import container_kind, container_part


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({}, None),
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": 'engine="podman-5.2.2"'}, "podman"),
        ({".dockerenv": "", "var/run/secrets/kubernetes.io/serviceaccount/token": "x"}, "kubernetes"),
        ({"run/host/container-manager": "systemd-nspawn\n"}, "systemd-nspawn"),
        ({"run/systemd/container": "lxc\n"}, "lxc"),
        ({"proc/1/environ": "HOME=/\0container=systemd-nspawn\0"}, "systemd-nspawn"),
        ({"proc/1/environ": "HOME=/\0container=\0"}, None),
        ({"proc/1/cgroup": "0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-1.scope\n"}, "kubernetes"),
        ({"proc/1/cgroup": "12:memory:/docker/0123abcd\n"}, "docker"),
        ({"proc/1/cgroup": "0::/machine.slice/libpod-0123.scope\n"}, "podman"),
        ({"proc/1/cgroup": "0::/init.scope\n"}, None),
        ({"proc/1/cgroup": "0::/system.slice/my-docker-helper.service\n"}, None),
    ],
)
def test_the_engine_is_told_by_its_marks(tmp_path: Path, files: dict[str, str], kind: str | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert container_kind(tmp_path) == kind
    assert container_part(tmp_path) == ({"container": kind} if kind else {})
