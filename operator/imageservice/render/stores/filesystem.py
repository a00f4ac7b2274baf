"""Options of a store of plain files (driver `file`)."""

from imageservice.render.inputs import StoreInputs
from imageservice.render.stores.members import filesystem_of
from imageservice.render.stores.paths import store_directory
from imageservice.render.stores.values import boolean


def section(store: StoreInputs) -> dict[str, str]:
    """Return the options of the section."""
    return {
        # The slash at the end: Glance takes an image whose store is gone for one of any store whose URL its own begins
        # with, and `central` begins `central2`.
        "filesystem_store_datadir": f"{store_directory(store.store_id)}/",
        "filesystem_thin_provisioning": boolean(filesystem_of(store).sparse_upload),
    }
