"""What this process runs in: a container engine, or the machine itself.

Source: systemd "Container Interface" (`/run/host/container-manager`, `container=` of process 1); Docker's and Podman's
mark files; Kubernetes' service account mount.
"""

from pathlib import Path

from agent.probes.base import Part, Probe, blocking

__all__ = ["container_kind", "container_part", "container_probe"]

#: where Kubernetes puts what a pod needs to reach it
KUBERNETES_MOUNTS = ("var/run/secrets/kubernetes.io", "run/secrets/kubernetes.io")
#: words of a control group's path, where no file tells
GROUP_WORDS = (("kubepods", "kubernetes"), ("libpod", "podman"), ("docker", "docker"), ("lxc", "lxc"))


def container_probe(root: Path = Path("/")) -> Probe:
    """Reads `container`."""

    async def read() -> Part:
        return await blocking(lambda: container_part(root))

    return Probe(name="container", read=read)


def container_part(root: Path = Path("/")) -> Part:
    """`{"container": "docker"}`; `{}` on the machine itself."""
    kind = container_kind(root)
    return {"container": kind} if kind else {}


def container_kind(root: Path = Path("/")) -> str | None:
    """`kubernetes`, `podman`, `docker`, `systemd-nspawn`, `lxc`, or another engine's own word; None: no container.

    Kubernetes counts before the engine that it uses.
    """
    if any((root / mount).is_dir() for mount in KUBERNETES_MOUNTS):
        return "kubernetes"
    if (root / "run/.containerenv").exists():
        return "podman"
    if (root / ".dockerenv").exists():
        return "docker"
    return _said_by_manager(root) or _said_by_group(root)


def _said_by_manager(root: Path) -> str | None:
    for place in ("run/host/container-manager", "run/systemd/container"):
        if said := _text(root / place):
            return said
    for setting in _text(root / "proc/1/environ").split("\0"):
        name, _, value = setting.partition("=")
        if name == "container" and value:
            return value
    return None


def _said_by_group(root: Path) -> str | None:
    groups = _text(root / "proc/1/cgroup")
    parts = [part for line in groups.splitlines() for part in line.rpartition(":")[2].split("/")]
    for word, kind in GROUP_WORDS:
        if any(part.startswith(word) for part in parts):
            return kind
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
