"""A real bootable disk image: Debian's installer (kernel and initrd of its netboot package) on an ISO made by GRUB."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.cluster.state import cache_folder

INSTALLER = "debian-installer-12-netboot-amd64"
TOOLS = ("grub-common", "grub-pc-bin", "mtools", "xorriso")
BOOT_MENU = """set timeout=5
menuentry "Debian installer" {
    linux /boot/linux
    initrd /boot/initrd.gz
}
"""


def bootable_image() -> Path:
    """Return the path of the ISO, made the first time. IMAGE_SERVICE_DEMO_IMAGE names another image to use."""
    given = os.environ.get("IMAGE_SERVICE_DEMO_IMAGE")
    if given:
        return Path(given)
    target = cache_folder() / "images" / "debian-installer.iso"
    if target.exists():
        return target
    if not shutil.which("apt-get") or os.getuid() != 0:
        raise SystemExit(
            "Making a bootable image needs apt-get and root: set IMAGE_SERVICE_DEMO_IMAGE to an image file of yours."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    _install_tools()
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        _make_iso(Path(scratch), target)
    return target


def _install_tools() -> None:
    if shutil.which("grub-mkrescue") and shutil.which("xorriso"):
        return
    print(f"    installing {' '.join(TOOLS)} with apt-get", flush=True)
    _run("apt-get", "-qq", "update")
    _run("apt-get", "-qq", "--yes", "--no-install-recommends", "install", *TOOLS)


def _make_iso(scratch: Path, target: Path) -> None:
    scratch.chmod(0o755)
    downloads = scratch / "downloads"
    downloads.mkdir()
    downloads.chmod(0o777)  # apt-get downloads as a user of its own
    _run("apt-get", "-qq", "download", INSTALLER, cwd=downloads)
    [package] = downloads.glob("*.deb")
    _run("dpkg-deb", "--extract", str(package), str(scratch / "package"))
    boot = scratch / "iso" / "boot"
    (boot / "grub").mkdir(parents=True)
    [kernel] = (scratch / "package").rglob("text/debian-installer/amd64/linux")
    shutil.copy(kernel, boot)
    shutil.copy(kernel.with_name("initrd.gz"), boot)
    (boot / "grub" / "grub.cfg").write_text(BOOT_MENU)
    made = scratch / "made.iso"
    _run("grub-mkrescue", "--output", str(made), str(scratch / "iso"))
    made.rename(target)


def _run(*command: str, cwd: Path | None = None) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}")
