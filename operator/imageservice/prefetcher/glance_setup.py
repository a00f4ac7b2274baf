"""Glance as the worker uses it: configured as its API is, with nothing that only an API needs.

The same calls on all releases. Each name of Glance that is used is in `CONTRACT`, and is looked at before anything is
done with it: a release that has changed one is told at the start, and not in the middle of a fetch.
"""

import dataclasses
import importlib
import inspect
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# These register options, some for the command line, which nobody may after the configuration was read.
import glance.common.config  # type: ignore[import-not-found]
import glance.common.exception  # type: ignore[import-not-found]
import glance.context  # type: ignore[import-not-found]
import glance.db  # type: ignore[import-not-found]
import glance.db.sqlalchemy.api  # type: ignore[import-not-found]  # get_api() would import it too late
import glance.image_cache  # type: ignore[import-not-found]
import glance.image_cache.drivers.centralized_db  # type: ignore[import-not-found]
import glance_store  # type: ignore[import-not-found]
from oslo_config import cfg
from oslo_log import log as oslo_log  # type: ignore[import-not-found]

from .failures import of_store
from .refusal import Refusal
from .verify import Expected, expected

CONFIG_FILES = ("glance-image-import.conf", "glance-api.conf")
"""What Glance reads in `OS_GLANCE_CONFIG_DIR`, the later winning; the first may be missing."""
DRIVER = "glance.image_cache.drivers.centralized_db"
"""The only cache driver that tells the nodes apart. Where it fails, Glance takes another one without a word."""
READ_SIZES = {"file": ("filesystem_store_chunk_size", 2**20), "rbd": ("rbd_store_chunk_size", 1)}
"""Type of a store -> the option that says how much is read at once (bytes; MiB), and ours: that of files is too small
to be fast, that of Ceph too large to be frugal. The worker writes to no store, where it would matter elsewhere."""

HEAVY_DRIVERS = {kind: f"glance_store._drivers.{kind}" for kind in ("cinder", "s3", "swift")}
"""Type of a store -> the module of its driver: glance_store imports all drivers that can be imported, whatever stores
there are, and these bring 20 MiB of clients."""

CONTRACT: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("glance.common.config:set_config_defaults", 0, ()),
    ("glance.common.exception:NotFound", 0, ()),
    ("glance.context:RequestContext", 0, ("is_admin", "roles")),
    ("glance.db:get_api", 0, ()),
    ("glance.db:ImageRepo", 2, ()),
    ("glance.db:ImageRepo.get", 2, ()),
    ("glance.image_cache:ImageCache", 0, ()),
    (f"{DRIVER}:Driver.delete_cached_image", 2, ()),
    (f"{DRIVER}:Driver.get_cached_images", 1, ()),
    (f"{DRIVER}:Driver.open_for_write", 2, ()),
    ("glance_store:create_multi_stores", 1, ()),
    ("glance_store:get", 2, ("context",)),
    ("glance_store:register_store_opts", 1, ()),
)
"""Module and name -> how many arguments it is given by position, and those by name."""
OPTIONS = ("enabled_backends", "image_cache_dir", "worker_self_reference_url")
"""Options that the names above have to register."""


@dataclasses.dataclass(frozen=True)
class Location:
    """A place where the data of an image lies; the store is None where Glance does not say which it is."""

    url: str = dataclasses.field(repr=False)
    store: str | None

    @property
    def name(self) -> str:
        """What a user may be told of the place."""
        return self.store or "a store without a name"


@dataclasses.dataclass(frozen=True)
class Image:
    """What Glance's database says of an image; the locations in the order of the weights of their stores."""

    id: str
    status: str
    expected: Expected
    locations: tuple[Location, ...]


@dataclasses.dataclass(frozen=True)
class CachedImage:
    """A row of this node in Glance's database."""

    hits: int
    last_accessed: float


class Glance:
    """Glance with its configuration and its stores; `connect` it before anything of the cache's rows is asked."""

    def __init__(self) -> None:
        self._config = cfg.CONF
        self._driver: Any = None
        check_contract()
        self._configure()
        self._create_stores()
        self._context = glance.context.RequestContext(is_admin=True, roles=["admin"])

    def _configure(self) -> None:
        directory = Path(os.environ.get("OS_GLANCE_CONFIG_DIR", "/etc/glance"))
        files = [str(path) for path in map(directory.joinpath, CONFIG_FILES) if path.exists()]
        try:
            oslo_log.register_options(self._config)
            glance.common.config.set_config_defaults()
            self._config([], project="glance", prog="glance-api", default_config_files=files)
        except (cfg.Error, OSError) as error:
            raise Refusal(f"The configuration of Glance cannot be read ({type(error).__name__}).") from error
        for option in ("image_cache_dir", "worker_self_reference_url"):
            if not self._config[option]:
                raise Refusal(f"The configuration of Glance has no {option}.")
        if not self._config.enabled_backends:
            raise Refusal("The configuration of Glance has no enabled_backends.")

    def _create_stores(self) -> None:
        """Make the stores known. None is asked whether it works: one that does not is no fault of the others."""
        try:
            # It tells of each driver that cannot be imported; one that is needed is missed below.
            logging.getLogger("stevedore").setLevel(logging.CRITICAL)
            for kind in HEAVY_DRIVERS.keys() - set(self._config.enabled_backends.values()):
                sys.modules[HEAVY_DRIVERS[kind]] = None  # type: ignore[assignment]
            glance_store.register_store_opts(self._config)
            for store, kind in self._config.enabled_backends.items():
                if kind in READ_SIZES:
                    option, size = READ_SIZES[kind]
                    self._config.set_override(option, size, group=store)
            glance_store.create_multi_stores(self._config)
        except Exception as error:
            raise Refusal(f"The stores of Glance cannot be set up ({type(error).__name__}).") from error

    @property
    def cache_dir(self) -> str:
        """The directory of the cache."""
        return str(self._config.image_cache_dir)

    def connect(self) -> None:
        """Enter this node in the database, where that was not done; raises errors of the database, and Refusal."""
        if self._driver is None:
            driver = glance.image_cache.ImageCache().driver
            if type(driver).__module__ != DRIVER:
                raise Refusal(f"Glance uses another cache driver than {DRIVER.rpartition('.')[2]}.")
            self._driver = driver

    @property
    def driver(self) -> Any:
        """Glance's driver of the cache, once connected."""
        return self._driver

    def rows(self) -> dict[str, CachedImage]:
        """Return the rows of this node by the id of their image."""
        return {
            str(row["image_id"]): CachedImage(int(row["hits"]), float(row["last_accessed"]))
            for row in self.driver.get_cached_images()
        }

    def image(self, image_id: str) -> Image | None:
        """Return an image, None where there is none, or none any more.

        It is asked for without the layers above the database, as those rewrite locations that look odd on this node.
        """
        try:
            found = glance.db.ImageRepo(self._context, glance.db.get_api()).get(image_id)
        except glance.common.exception.NotFound:
            return None
        return Image(
            image_id,
            str(found.status),
            expected(found.size, found.os_hash_algo, found.os_hash_value, found.checksum),
            tuple(Location(place["url"], place["metadata"].get("store")) for place in found.locations),
        )

    def read(self, location: Location, wanted: Expected) -> Iterator[bytes]:
        """Yield the data at a location. Whatever goes wrong there is raised as a Failure."""
        try:
            data, size = glance_store.get(location.url, location.store, context=self._context)
        except Exception as error:
            raise of_store(location.name, error) from error
        # Some stores say 0 for what they do not know.
        if isinstance(size, int) and size > 0:
            wanted.check_size(location.name, size)
        done = 0
        for block in _told_of(location, data):
            done += len(block)
            if wanted.size is not None and done > wanted.size:
                wanted.check_size(location.name, done)
            yield block


def _told_of(location: Location, data: Iterable[bytes]) -> Iterator[bytes]:
    blocks = iter(data)
    while True:
        try:
            block = next(blocks, None)
        except Exception as error:
            raise of_store(location.name, error) from error
        if block is None:
            return
        yield block


def check_contract() -> None:
    """Raise Refusal, which names the first name that is missing, or that takes other arguments than it is given."""
    for name, positions, keywords in CONTRACT:
        module, _, path = name.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in path.split("."):
                found = getattr(found, part)
            if not inspect.isclass(found) or keywords or positions:
                inspect.signature(found).bind(*range(positions), **dict.fromkeys(keywords))
        except (ImportError, AttributeError):
            raise Refusal(f"This release of Glance has no {path} in {module}.") from None
        except TypeError:
            raise Refusal(f"{path} in {module} of this release of Glance takes other arguments.") from None
    for option in OPTIONS:
        if option not in cfg.CONF:
            raise Refusal(f"This release of Glance has no option {option} where it is looked for.")
