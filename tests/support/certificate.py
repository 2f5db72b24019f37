"""A certificate that signs itself, for servers under test that speak TLS."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Certificate", "certificate"]


@dataclass(frozen=True)
class Certificate:
    cert: Path
    key: Path


def certificate(folder: Path, *names: str) -> Certificate:
    """One for these host names, valid for a day."""
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    alternatives = ",".join(f"DNS:{name}" for name in names)
    command = (
        *(
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "1",
        ),
        *("-subj", f"/CN={names[0]}", "-addext", f"subjectAltName={alternatives}"),
        *("-keyout", str(made.key), "-out", str(made.cert)),
    )
    subprocess.run(command, check=True, capture_output=True)
    return made
