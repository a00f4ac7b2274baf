"""`python -m tests.prepare`: make everything that the tests and the demo use and that takes long the first time.

It tells what it does, may be interrupted, and goes on where it stopped; with everything cached it takes a second. What
this machine cannot make is said here, and the tests that need it are skipped with the same reason.
"""

import os
import sys
from collections.abc import Callable

from demo.bootable_image import bootable_image
from tests import keystone
from tests.cluster import binaries, images, images_store, packages
from tests.cluster.errors import ClusterError, Unavailable
from tests.cluster.progress import say
from tests.glance_environments import glance_environment

from imageservice.releases import RELEASES

TOOLS = ("kube-apiserver", "coredns", "kwok", "helm")
IMAGES = ("pause", "coredns", "operator", "mariadb", "keystone", "glance-2025.1", "glance-2026.1")
PACKAGES = (
    *(*packages.CONTROL_PLANE, *packages.NODES, *packages.DATABASES, *packages.CEPH, *packages.DISK_IMAGES),
    *(*packages.IMAGES, *packages.COMPILER, *packages.SHARES),
)


def steps() -> list[tuple[str, Callable[[], object]]]:
    """All steps, the longest first."""
    return [
        ("system packages", lambda: packages.ensure(dict.fromkeys(PACKAGES))),
        *((f"program {name}", lambda name=name: binaries.program(name)) for name in TOOLS),
        ("stages of kwok", binaries.kwok_stages),
        *((f"Glance {name} for Python", lambda name=name: glance_environment(name)) for name in RELEASES),
        ("Keystone for Python", keystone.prepared),
        *((f"image {name}", lambda name=name: images.build(name)) for name in IMAGES),
        ("images for nodes", _images_for_nodes),
        ("bootable disk image", bootable_image),
    ]


def _images_for_nodes() -> None:
    if os.getuid() == 0 and images_store.usable():
        images_store.keep(images.built())


def main() -> int:
    """Do every step; the exit status is 1 where something that should work failed."""
    if os.getuid() != 0:
        say("not root: tests on real nodes will be skipped")
    todo = steps()
    for number, (name, make) in enumerate(todo, 1):
        say(f"({number}/{len(todo)}) {name}")
        try:
            make()
        except (Unavailable, SystemExit) as reason:
            say(f"      not on this machine: {reason}")
        except ClusterError as error:
            say(f"error: {error}")
            return 1
        except KeyboardInterrupt:
            say("interrupted; the next run goes on from here")
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
