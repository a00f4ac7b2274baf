"""A site for the end-to-end tests: one namespace on real nodes with MariaDB, Keystone, storage and its objects."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from demo import image_client, platform
from tests.cluster.cluster import Cluster
from tests.operator_process import wait_for

Manifest = dict[str, Any]


class Site:
    """One namespace and what a test asks of it."""

    def __init__(self, cluster: Cluster, home: str) -> None:
        self.cluster = cluster
        self.home = home

    def kubectl(self, *arguments: str, **options: Any) -> Any:
        return self.cluster.kubectl("-n", self.home, *arguments, **options)

    def get(self, *arguments: str) -> Any:
        return self.cluster.get("-n", self.home, *arguments)

    def conditions(self, name: str = "glance") -> dict[str, Manifest]:
        found = self.get("imageservice", name).get("status", {}).get("conditions", [])
        return {condition["type"]: condition for condition in found}

    def wait_ready(self, name: str = "glance", seconds: float = 120) -> None:
        waited = self.kubectl(
            "wait",
            f"imageservice/{name}",
            "--for=condition=Ready",
            f"--timeout={seconds}s",
            check=False,
            timeout=seconds + 10,
        )
        why = {type_: c.get("message") for type_, c in self.conditions(name).items() if c["status"] != "True"}
        assert waited.returncode == 0, f"{name} is not Ready within {seconds} s: {why}"

    def wait_reason(self, reason: str, type_: str, name: str = "glance", seconds: float = 90) -> Manifest:
        def found() -> Manifest | None:
            condition = self.conditions(name).get(type_, {})
            return condition if condition.get("reason") == reason else None

        try:
            condition: Manifest = wait_for(found, seconds, f"{type_}={reason}")
        except AssertionError as late:
            raise AssertionError(f"{late}; there is {self.conditions(name)}") from None
        return condition

    def mysql(self, statement: str) -> str:
        """Run SQL as the administrator of the database."""
        return str(self.kubectl("exec", "deployment/mariadb", "--", "mariadb", "-N", "-e", statement).stdout)

    def new_database(self, name: str) -> str:
        """Make a database and return its URL."""
        self.mysql(f"CREATE DATABASE `{name}`; GRANT ALL ON `{name}`.* TO glance@'%';")
        password = platform.PASSWORDS["database"]
        return f"mysql+pymysql://glance:{password}@mariadb.{self.home}.svc.cluster.local:3306/{name}"

    def make(self, name: str, url: str, **spec: Any) -> None:
        """Make another ImageService in this namespace, with a store of its own and no entry in the catalogue."""
        service = platform.image_service(self.home, database={"secretRef": {"name": f"{name}-db"}}, **spec)
        service["metadata"]["name"] = name
        service["spec"]["api"] = {"replicas": 1, "processes": 1, "terminationGracePeriodSeconds": 30}
        service["spec"]["identity"]["catalog"] = {"register": False}
        empty = {"volume": {"type": "EmptyDir", "emptyDir": {}}}
        store = platform.image_store(self.home, f"{name}-store", imageServiceRef={"name": name}, filesystem=empty)
        self.cluster.apply(platform.secret(self.home, f"{name}-db", {"url": url}), store, service)

    def remove(self, name: str) -> None:
        self.kubectl("delete", "imageservice", name, "--wait=false")
        self.kubectl("delete", "imagestore", f"{name}-store", "--wait=false")

    def url(self, service: str) -> str:
        return platform.service_url(self.cluster, self.home, service)

    def client(self, *arguments: str | Path) -> list[str]:
        """The words that run the client in the cluster's network."""
        command, *rest = arguments
        urls = (self.url("keystone"), self.url("glance-api"))
        return self.cluster.command([sys.executable, image_client.__file__, str(command), *urls, *map(str, rest)])

    @contextlib.contextmanager
    def loop(self, seconds: float = 300) -> Iterator[dict[str, Any]]:
        """Upload and download through the Service for as long as the block lasts; the counts are there after it."""
        report: dict[str, Any] = {}
        process = subprocess.Popen(
            self.client("loop", str(seconds)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.cluster.environment,
        )
        try:
            time.sleep(2)
            yield report
            time.sleep(2)
            said, _ = process.communicate("", timeout=150)
            report.update(json.loads(said))
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(10)

    def versions(self) -> dict[str, str]:
        """The resourceVersion of every object that the operator writes or reads for the ImageService `glance`."""
        children = "deployments,services,secrets,jobs,poddisruptionbudgets"
        names = {
            "ImageService": ["glance"],
            "ImageStore": ["central"],
            "Secret": ["glance-db", "glance-service-user", "keystone-admin"],
        }
        found = self.get(children, "-l", "imageservice.dev/image-service=glance")["items"]
        read = self.get("imageservices,imagestores,secrets")["items"]
        found += [item for item in read if item["metadata"]["name"] in names[item["kind"]]]
        return {f"{item['kind']}/{item['metadata']['name']}": item["metadata"]["resourceVersion"] for item in found}
