"""Java servers: Maven fetches them into a cache, and they run as processes that cannot outlive the tests."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_POMS = Path(__file__).parent / "maven"
_JAVA_FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.net.preferIPv4Stack=true")
_INSTALL = "apt-get install --no-install-recommends default-jre-headless maven"


class Unavailable(Exception):
    """The server cannot run on this machine; the message says what to install."""


def cache() -> Path:
    """Return the folder that all checkouts of one user share."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "attentive-attribute-worker"


def kafka_jars() -> Path:
    """Return the folder of Apache Kafka's jars, fetched (43 MB) on first use."""
    return _fetched("kafka-4.4.0", "kafka.xml", _copied)


def avro_jars() -> Path:
    """Return the folder of the jars of Apache Avro for Java, fetched (6 MB) on first use."""
    return _fetched("avro-1.12.2", "avro.xml", _copied)


def registry_app() -> Path:
    """Return the folder of the Apicurio registry, fetched (142 MB) on first use."""
    return _fetched("apicurio-2.6.13", "registry.xml", lambda target: ["dependency:unpack", f"-Doutput={target}"])


def _copied(target: Path) -> list[str]:
    return ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target}"]


def _fetched(name: str, pom: str, goals: Callable[[Path], list[str]]) -> Path:
    folder = cache() / name
    with only_one(folder.with_name(f"{name}.lock")):
        if not folder.exists():
            maven = shutil.which("mvn")
            if maven is None:
                raise Unavailable(f"{name} is not in {folder.parent} and there is no Maven to fetch it: {_INSTALL}")
            # Moved into place when whole: an interrupted fetch leaves nothing that looks finished.
            partial = folder.with_name(f"{name}.partial-{os.getpid()}")
            command = [maven, "-q", "-B", "-f", str(_POMS / pom), *goals(partial)]
            fetched = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
            if fetched.returncode != 0:
                shutil.rmtree(partial, ignore_errors=True)
                raise Unavailable(f"Maven could not fetch {name}: {fetched.stdout[-2000:]}")
            partial.rename(folder)
    return folder


@contextmanager
def only_one(lock: Path) -> Iterator[None]:
    """Let one process at a time fill a part of the cache."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def java(*arguments: str, heap_mebibytes: int = 256) -> list[str]:
    """Build the command of a small, quickly started JVM.

    Raises:
        Unavailable: there is no Java.
    """
    found = shutil.which("java")
    if found is None:
        raise Unavailable(f"there is no Java: {_INSTALL}")
    return [found, f"-Xmx{heap_mebibytes}m", *_JAVA_FLAGS, *arguments]


class Process:
    """A server process that ends with the tests, even if they are killed. Its output goes to `log`."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.log = log
        # setpriv makes the kernel end it with this process: if pytest is killed, neither fixtures nor atexit run.
        guard = shutil.which("setpriv")
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [guard, "--pdeathsig", "KILL", *command] if guard else command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches pytest alone, which then stops it in order
            )
        atexit.register(self.kill)

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    @property
    def pid(self) -> int:
        return self._popen.pid

    def signal(self, number: signal.Signals) -> None:
        if self.running:
            os.killpg(self._popen.pid, number)

    def stop(self, timeout_seconds: float = 15.0) -> None:
        """End it by SIGTERM, or after the time-out by SIGKILL: a broker without quorum ignores SIGTERM."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            self._popen.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._popen.wait()
        atexit.unregister(self.kill)

    def tail(self) -> str:
        """Return the end of its output, for the message of a failed start."""
        return self.log.read_text(errors="replace")[-3000:]


if __name__ == "__main__":  # `scripts/fetch-kafka`: fill the cache ahead of the tests
    fetchers = {"kafka": kafka_jars, "registry": registry_app, "avro": avro_jars}
    if unknown := set(sys.argv[1:]) - fetchers.keys():
        sys.exit(f"usage: scripts/fetch-kafka [kafka] [registry] [avro]; not {', '.join(sorted(unknown))}")
    for wanted in sys.argv[1:] or fetchers:
        sys.stdout.write(f"{wanted}: {fetchers[wanted]()}\n")
