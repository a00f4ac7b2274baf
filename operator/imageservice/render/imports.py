"""The formats of images and their import: what spec.formats and spec.imports become in glance-api.conf and in the pod.

All of it is in glance-api.conf: Glance reads glance-image-import.conf before it, so a second file could only be
overruled.
"""

import ipaddress
from collections.abc import Iterable

from imageservice.api.v1alpha1 import Formats, ImageServiceSpec, Imports, InjectProperties, WebDownload
from imageservice.manifest import Manifest
from imageservice.render import ini
from imageservice.render.pods import empty_dir

METHODS = ("glance-direct", "copy-image")
"""The methods where the user names none. The others fetch from where somebody else says (OSSA-2026-004)."""
SCHEMES = ("https",)
PORTS = {"https": 443, "http": 80}
CONVERTED = ("raw", "bare")
"""Disk and container format of images that are converted without being asked for."""

STAGING_VOLUME = "staging"

Sections = dict[str, dict[str, str]]


def import_sections(spec: ImageServiceSpec, default_store_type: str) -> Sections:
    """Return section -> option -> value; `default_store_type` is the type of the store that imports go to by default.

    Raises ValueError where the name or value of a property cannot stand in a list.
    """
    imports, output_format = spec.imports, target_format(spec, default_store_type)
    sections = {
        "DEFAULT": {"enabled_import_methods": _brackets(imports.methods or METHODS)},
        "image_format": _formats(spec.formats),
        "image_import_opts": _plugins(imports, output_format),
        "image_conversion": {"output_format": output_format} if output_format else {},
        "inject_metadata_properties": _injection(imports.inject_properties),
        "import_filtering_opts": _filter(imports.web_download),
    }
    return {section: options for section, options in sections.items() if options}


def target_format(spec: ImageServiceSpec, default_store_type: str) -> str | None:
    """Return the disk format that imported images are converted to; None where they stay as they come."""
    if spec.imports.conversion is not None:
        return spec.imports.output_format
    return CONVERTED[0] if converts_by_itself(default_store_type) and _may_be_converted(spec.formats) else None


def converts_by_itself(store_type: str) -> bool:
    """Tell whether images for a store of this type are better raw: Ceph clones, and boots from, raw images alone."""
    return store_type == "Ceph"


def _may_be_converted(formats: Formats | None) -> bool:
    disk, container = CONVERTED
    return formats is None or (disk in (formats.disk or CONVERTED) and container in (formats.container or CONVERTED))


def _formats(formats: Formats | None) -> dict[str, str]:
    lists = {"disk_formats": formats.disk, "container_formats": formats.container} if formats else {}
    return {option: ini.list_value(names) for option, names in lists.items() if names}


def _plugins(imports: Imports, output_format: str | None) -> dict[str, str]:
    """Return the plugins in the order in which they must act: what is packed cannot be converted."""
    wanted = {
        "image_decompression": imports.decompression,
        "image_conversion": output_format is not None,
        "inject_image_metadata": imports.inject_properties is not None,
    }
    names = [name for name, is_wanted in wanted.items() if is_wanted]
    return {"image_import_plugins": _brackets(names)} if names else {}


def _injection(wanted: InjectProperties | None) -> dict[str, str]:
    if wanted is None:
        return {}
    return {
        "inject": ini.dict_value(dict(sorted(wanted.properties.items()))),
        "ignore_user_roles": ini.list_value(wanted.ignore_user_roles),
    }


def _filter(allowed: WebDownload | None) -> dict[str, str]:
    """Return [import_filtering_opts]. Where Glance has a list of what is allowed, it refuses all else."""
    if allowed is None:
        return {}
    schemes = allowed.allowed_schemes or SCHEMES
    ports = allowed.allowed_ports or [PORTS[scheme] for scheme in schemes]
    return {
        "allowed_hosts": _brackets(map(_as_compared, allowed.allowed_hosts)),
        "allowed_schemes": _brackets(schemes),
        "allowed_ports": _brackets(map(str, ports)),
    }


def _as_compared(host: str) -> str:
    """Return a host as Glance compares it: an address in its shortest form, a name as it is."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


def _brackets(items: Iterable[str]) -> str:
    """Return the value of a list option that does without brackets in no release."""
    return ini.list_value(items, bounds=True)


def staging_claim(spec: ImageServiceSpec) -> str | None:
    """Return the name of the PersistentVolumeClaim that all pods stage in; None where each has its own directory."""
    staging = spec.imports.staging
    claim = staging.persistent_volume_claim if staging else None
    return claim.claim_name if claim else None


def staging_volume(spec: ImageServiceSpec) -> Manifest:
    """Return the volume of a pod for the data of imports that are not in their stores yet."""
    staging = spec.imports.staging
    if staging and staging.persistent_volume_claim:
        return {"name": STAGING_VOLUME, "persistentVolumeClaim": staging.persistent_volume_claim.to_manifest()}
    if staging and staging.empty_dir:
        return {"name": STAGING_VOLUME, "emptyDir": staging.empty_dir.to_manifest()}
    return empty_dir(STAGING_VOLUME)
