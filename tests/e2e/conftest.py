"""What the end-to-end tests share."""

from tests.e2e.cache_site import cache_site

__all__ = ["cache_site"]
