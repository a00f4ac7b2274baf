"""The OpenStack releases that the operator can run, oldest first."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Release:
    """One OpenStack release: its `name` as users write it and the major version of Glance in it."""

    name: str
    glance_major: int

    @property
    def default_image(self) -> str:
        """The image run where neither the ImageService nor the installation names another."""
        return f"imageservice.dev/glance:{self.name}"


RELEASES: dict[str, Release] = {
    release.name: release
    for release in (Release("2025.1", 30), Release("2025.2", 31), Release("2026.1", 32), Release("2026.2", 33))
}
