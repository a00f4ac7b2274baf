"""A share that real nodes mount as NFS, and that can be taken away from them.

Few kernels of test machines have a client of NFS. So nodes get a program `mount.nfs`, which the kubelet runs by way of
mount(8) as it would the real one, and which mounts a directory that all nodes share through a file system in user space
(bindfs). Its users notice the same: while its server does not answer they hang, once it is gone for good they fail, and
what they write ends up in the one directory or nowhere.
"""

import os
import signal
import subprocess
from pathlib import Path

from demo.platform import GLANCE_UID
from tests.cluster import packages
from tests.cluster.cluster import Cluster

SERVER = "nfs.example"
EXPORT = "/exports/images"

_MOUNT_NFS = """\
#!/bin/sh
# mount.nfs SOURCE TARGET OPTIONS...
exec bindfs -o "fsname=$1" {directory} "$2"
"""


class Share:
    """The directory of the server, and the nodes that mount it."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        packages.ensure(packages.SHARES)
        assert cluster.shared is not None
        self._cluster = cluster
        self._on_nodes = f"{cluster.SHARED_ON_NODES}/{name}"
        self.directory = cluster.shared / name
        self.directory.mkdir(exist_ok=True)
        os.chown(self.directory, GLANCE_UID, GLANCE_UID)
        for node in cluster.nodes():
            self._teach(node)

    def _teach(self, node: str) -> None:
        """Give a node the program: in its own view of /usr/sbin, which is its host's."""
        program = _MOUNT_NFS.format(directory=self._on_nodes)
        script = (
            "mkdir -p /srv/sbin/above /srv/sbin/work && "
            "printf '%s' \"$0\" >/srv/sbin/above/mount.nfs && chmod 755 /srv/sbin/above/mount.nfs && "
            "mount -t overlay -o lowerdir=/usr/sbin,upperdir=/srv/sbin/above,workdir=/srv/sbin/work overlay /usr/sbin"
        )
        self.run(node, "sh", "-c", script, program)

    def run(self, node: str, *words: str) -> str:
        """Run a command on a node and return what it says."""
        command = self._cluster.node_command(node, words)
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout

    def mount_points(self, node: str) -> list[Path]:
        """Where a node has mounted the share."""
        lines = self.run(node, "cat", "/proc/self/mountinfo").splitlines()
        return [Path(line.split()[4]) for line in lines if "/kubernetes.io~nfs/" in line]

    def signal(self, number: signal.Signals) -> int:
        """Send a signal to what serves the share on every node; return how many processes that were."""
        found = 0
        for node in self._cluster.nodes():
            pids = self.run(node, "sh", "-c", f"pgrep -f '^bindfs .*{SERVER}:{EXPORT}' || true").split()
            found += len(pids)
            if pids:
                self.run(node, "kill", f"-{number.value}", *pids)
        return found

    def lose(self) -> list[tuple[str, Path]]:
        """Unmount the share on every node; return node and bare mount point."""
        bare = [(node, point) for node in self._cluster.nodes() for point in self.mount_points(node)]
        for node, point in bare:
            self.run(node, "umount", "--lazy", str(point))
        return bare
