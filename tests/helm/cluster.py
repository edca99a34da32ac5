"""A real Kubernetes API server on etcd, without nodes or controllers: what those would do is played by `Players`."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.helm.charts import Object
from tests.support.java import Process
from tests.support.ports import reserved_port
from tests.support.processes import until

_TOKEN = "administrator"
_START_SECONDS = 60
_STARTS = 3


class Cluster:
    """An API server of its own, on loopback. `kubeconfig` is for helm and kubectl, `api` for the tests."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self._folder = folder
        self._processes: list[Process] = []
        self.kubeconfig = folder / "kubeconfig"
        for _ in range(_STARTS):  # a port may be taken between its choice and its use
            try:
                self._start(binary)
            except AssertionError:
                self.stop()
            else:
                return
        raise AssertionError(f"the API server does not start: {(folder / 'apiserver.log').read_text()[-3000:]}")

    def _start(self, binary: Path) -> None:
        etcd, peers, port = reserved_port(), reserved_port(), reserved_port()
        self._processes = [
            Process(_etcd(self._folder / f"etcd-{etcd}", etcd, peers), self._folder / "etcd.log"),
            Process(_apiserver(binary, self._folder, etcd, port), self._folder / "apiserver.log"),
        ]
        url = f"https://127.0.0.1:{port}"
        self.kubeconfig.write_text(yaml.safe_dump(_kubeconfig(url)))
        # The server makes its own certificate, and the connection does not leave the machine.
        self.api = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {_TOKEN}"}, verify=False, timeout=30)  # noqa: S501 - see above
        until(self._ready, _START_SECONDS, "the API server is ready")

    def _ready(self) -> bool:
        assert all(process.running for process in self._processes), "a server ended"
        return self.api.get("/readyz").status_code == httpx.codes.OK

    def stop(self) -> None:
        self.api.close()
        for process in reversed(self._processes):
            process.stop()

    def create(self, path: str, item: Object) -> None:
        self.api.post(path, json=item).raise_for_status()

    def namespace(self, name: str) -> None:
        """Makes a namespace that takes only pods of the restricted standard, with the Secrets of ci/."""
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})

    def items(self, path: str) -> list[Object]:
        listed: list[Object] = self.api.get(path).raise_for_status().json()["items"]
        return listed


def _etcd(data: Path, port: int, peers: int) -> list[str]:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peers}"
    return [
        "etcd",
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
    ]


def _apiserver(binary: Path, folder: Path, etcd: int, port: int) -> list[str]:
    key = folder / "service-accounts.pem"
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    key.write_bytes(private.private_bytes(*form))
    tokens = folder / "tokens.csv"
    tokens.write_text(f'{_TOKEN},admin,admin,"system:masters"\n')
    return [
        str(binary),
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certificates'}",
        f"--token-auth-file={tokens}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--endpoint-reconciler-type=none",
        # A controller would make each namespace's default account, and there is none.
        "--disable-admission-plugins=ServiceAccount",
    ]


def _kubeconfig(url: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "u", "user": {"token": _TOKEN}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


_TIME = "2026-05-04T00:00:00Z"


class Players:
    """Plays controllers and kubelet: what is rolled out becomes ready, jobs and pods end as `fate` says."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._over = threading.Event()
        self.failing: set[str] = set()
        """Names of jobs and pods that are to fail."""

    @contextmanager
    def at_work(self) -> Iterator[Players]:
        thread = threading.Thread(target=self._play)
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    def _play(self) -> None:
        roles: Mapping[str, Callable[[Object], Object]] = {
            f"/apis/apps/v1/namespaces/{self._namespace}/deployments": self._deployment,
            f"/apis/apps/v1/namespaces/{self._namespace}/statefulsets": _stateful_set,
            f"/apis/batch/v1/namespaces/{self._namespace}/jobs": self._job,
            f"/api/v1/namespaces/{self._namespace}/pods": self._pod,
        }
        while not self._over.wait(0.1):
            for path, role in roles.items():
                for item in self._cluster.items(path):
                    status = role(item)
                    if not status.items() <= item.get("status", {}).items():
                        self._patch(f"{path}/{item['metadata']['name']}", status)

    def _patch(self, path: str, status: Object) -> None:
        kind = {"Content-Type": "application/merge-patch+json"}
        answer = self._cluster.api.patch(f"{path}/status", json={"status": status}, headers=kind)
        # It may have been deleted meanwhile.
        assert answer.is_success or answer.status_code == httpx.codes.NOT_FOUND, answer.text

    def _deployment(self, item: Object) -> Object:
        """Helm 3 looks for a ReplicaSet of the newest template as well."""
        path = f"/apis/apps/v1/namespaces/{self._namespace}/replicasets"
        spec, name = item["spec"], item["metadata"]["name"]
        revision = json.dumps([item["metadata"]["uid"], spec["template"]], sort_keys=True)
        made = f"{name}-{zlib.crc32(revision.encode()):x}"
        if made not in {each["metadata"]["name"] for each in self._cluster.items(path)}:
            owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": item["metadata"]["uid"]}
            labels = spec["template"]["metadata"]["labels"]
            metadata = {"name": made, "labels": labels, "ownerReferences": [owner | {"controller": True}]}
            parts = {part: spec[part] for part in ("replicas", "selector", "template")}
            self._cluster.create(path, {"metadata": metadata, "spec": parts})
            ready = {"replicas": spec["replicas"], "readyReplicas": spec["replicas"]}
            self._patch(f"{path}/{made}", ready | {"observedGeneration": 1})
        conditions = _conditions("Available", "Progressing", reason="NewReplicaSetAvailable")
        return _rolled_out(item) | {"conditions": conditions}

    def _job(self, item: Object) -> Object:
        if "conditions" in item["status"]:
            return {}
        if item["metadata"]["name"] in self.failing:
            return {"failed": 1, "startTime": _TIME, "conditions": _conditions("FailureTarget", "Failed")}
        times = {"startTime": _TIME, "completionTime": _TIME}
        return {"succeeded": 1, **times, "conditions": _conditions("SuccessCriteriaMet", "Complete")}

    def _pod(self, item: Object) -> Object:
        if item["status"]["phase"] != "Pending":
            return {}
        return {"phase": "Failed" if item["metadata"]["name"] in self.failing else "Succeeded"}


def _stateful_set(item: Object) -> Object:
    count = item["spec"]["replicas"]
    return _rolled_out(item) | {"currentReplicas": count, "currentRevision": "1", "updateRevision": "1"}


def _rolled_out(item: Object) -> Object:
    counts = dict.fromkeys(
        ("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), item["spec"]["replicas"]
    )
    return counts | {"observedGeneration": item["metadata"]["generation"]}


def _conditions(*types: str, reason: str = "Played") -> list[dict[str, str]]:
    common = {"status": "True", "reason": reason, "message": "", "lastTransitionTime": _TIME}
    return [{"type": each, **common} for each in types]
