"""Images as Glance's database knows them: plain data, for who asks for them and who tells of them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image. `size_bytes` is None while it has no data."""

    id: str
    name: str
    size_bytes: int | None
    status: str


@dataclass(frozen=True, slots=True)
class Found:
    """What one query found, newest first; `truncated` where there is more than is told."""

    images: tuple[FoundImage, ...]
    truncated: bool = False
