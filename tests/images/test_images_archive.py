"""Archives are what container tools expect, and the same bytes for the same content."""

import io
import json
import subprocess
import tarfile
from pathlib import Path

from tests.cluster import images
from tests.cluster.images_archive import read_layers, read_reference, write_archive, write_layer


def _archive(folder: Path, content: bytes) -> Path:
    folder.mkdir()
    (folder / "program").write_bytes(content)
    write_layer(folder / "layer.tar", {"program": folder / "program"})
    options = {"entrypoint": ["/program"], "user": "1:1"}
    write_archive(folder / "image.tar", "localhost/x:1", folder / "layer.tar", **options)
    return folder / "image.tar"


def test_an_archive_names_its_image_and_its_layers(tmp_path: Path) -> None:
    archive = _archive(tmp_path / "a", b"x" * 1000)
    assert read_reference(archive) == "localhost/x:1"
    digest = subprocess.run(["sha256sum", tmp_path / "a" / "layer.tar"], capture_output=True, text=True, check=True)
    assert [layer.digest for layer in read_layers(archive)] == [f"sha256:{digest.stdout.split()[0]}"]


def test_the_program_in_an_archive_may_be_run_by_everybody(tmp_path: Path) -> None:
    _archive(tmp_path / "a", b"x")
    with tarfile.open(tmp_path / "a" / "layer.tar") as layer:
        entry = layer.getmember("program")
        assert (entry.mode, entry.uid, entry.gid) == (0o755, 0, 0)


def test_an_archive_has_the_entry_point_and_the_user(tmp_path: Path) -> None:
    with tarfile.open(_archive(tmp_path / "a", b"x")) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))
        config = json.load(archive.extractfile(manifest[0]["Config"]))["config"]
    assert (config["Entrypoint"], config["User"]) == (["/program"], "1:1")


def test_the_same_program_gives_the_same_layer_whenever_it_was_written(tmp_path: Path) -> None:
    first, second = _archive(tmp_path / "a", b"x"), _archive(tmp_path / "b", b"x")
    assert read_layers(first) == read_layers(second)


def test_a_layer_that_is_a_link_in_the_archive_is_found(tmp_path: Path) -> None:
    written = _archive(tmp_path / "a", b"x")
    layer = read_layers(written)[0]
    with tarfile.open(written) as source, tarfile.open(tmp_path / "linked.tar", "w") as linked:
        manifest = json.load(source.extractfile("manifest.json"))
        for member in source:
            if member.name != "manifest.json":
                member.name = f"first/{member.name}" if member.name.endswith(".tar") else member.name
                linked.addfile(member, source.extractfile(member))
        link = tarfile.TarInfo("second/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, f"../first/{manifest[0]['Layers'][0]}"
        linked.addfile(link)
        manifest[0]["Layers"] = ["second/layer.tar"]
        description = json.dumps(manifest).encode()
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(description)
        linked.addfile(entry, io.BytesIO(description))
    assert read_layers(tmp_path / "linked.tar") == [layer]


def test_no_two_images_have_one_reference() -> None:
    assert len({images.reference(name) for name in images.IMAGES}) == len(images.IMAGES)


def test_a_change_of_the_source_changes_the_reference(monkeypatch, tmp_path: Path) -> None:
    # The sources of the image are looked for in another place, where they can be changed.
    source = tmp_path / images.IMAGES["pause"].sources[0]
    source.parent.mkdir(parents=True)
    monkeypatch.setattr(images, "_REPOSITORY", tmp_path)
    references = set()
    for text in ("int main(void) { return 0; }", "int main(void) { return 1; }"):
        source.write_text(text)
        images._digest.cache_clear()
        references.add(images.reference("pause"))
    images._digest.cache_clear()
    assert len(references) == 2


def test_the_layers_of_python_are_made_by_the_same_words_in_both_dockerfiles() -> None:
    def first_stage(dockerfile: str) -> str:
        text = (Path(__file__).resolve().parents[2] / dockerfile).read_text()
        return text.partition("FROM ${BASE} AS base\n")[2].partition("\n\n")[0]

    assert first_stage("Dockerfile")
    assert first_stage("Dockerfile") == first_stage("tests/images/keystone/Dockerfile")
