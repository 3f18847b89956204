"""Which files of a folder are images: what is read or passed over; everything else is counted and named."""

import io
import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from engine.data.dataset import prepare
from engine.data.images import find_images
from engine.data.listing import IMAGE_SUFFIXES, images_in
from engine.data.preprocess import Preprocess
from engine.data.readers import read_dataset
from engine.data.sets.registry import record
from engine.data.sets.verify import render, verify
from engine.errors import UserError


def picture(kind="PNG", seed=0):
    file = io.BytesIO()
    Pillow.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)).save(file, kind)
    return file.getvalue()


def put(folder, *names, data=None):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(seed=zlib.crc32(name.encode())) if data is None else data)


@pytest.fixture
def photos(tmp_path):
    """Two classes of two images each."""
    put(tmp_path / "photos", "cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")
    return tmp_path / "photos"


def dataset(photos):
    return read_dataset("folder", None, {"path": str(photos)})


READ = [f"a{suffix}" for suffix in (*IMAGE_SUFFIXES, ".PNG", ".JFIF", ".TiF")]


@pytest.mark.parametrize("name", READ)
def test_every_ending_is_read_by_training_and_prediction_alike(photos, name):
    put(photos, f"cat/{name}")
    raw = dataset(photos)
    assert photos / "cat" / name in raw.images.paths and len(raw) == 5 and raw.unread == ()
    assert find_images([photos / "cat"]) == raw.images.paths[:3]
    assert prepare(raw, Preprocess(), use_cache=False).images.shape == (5, 1, 8, 8)


@pytest.mark.parametrize("name", ["IMG_0001", "subject01.happy", "3.dat"])
def test_without_a_known_ending_the_content_decides(photos, name):
    put(photos, f"cat/{name}", data=picture("JPEG"))
    assert photos / "cat" / name in dataset(photos).images.paths
    put(photos, f"cat/{name}", data=b"some text")
    with pytest.warns(UserWarning, match="not read: 1 other file or folder"):
        assert len(find_images([photos / "cat"])) == 2
    put(photos, f"cat/second.{name}.txt", data=b"some text")
    with pytest.warns(UserWarning, match="not read: 2 other files or folders;"):
        assert len(find_images([photos / "cat"])) == 2


@pytest.mark.parametrize(
    ("name", "reason", "images"),
    [
        ("cat/a.heic", "an image of a kind that is not read .HEIC.", 1),
        ("cat/a.CR2", "an image of a kind that is not read .camera raw.", 1),
        ("cat/.a.png", "a hidden file", 1),
        (".NET/a.png", "a hidden folder, with 1 image that is not read", 1),
        (".NET/more/IMG_0001", "a hidden folder, with 1 image that is not read", 1),
        ("cat/.NET/a.png", "a hidden folder, with 1 image that is not read", 1),
        ("cat/.IMG_0001", "a hidden file", 1),
        (".IMG_0001", "a hidden file", 1),
        ("cat/more/IMG_0001", "a folder inside, with 1 image that is not read", 1),
        ("cat/a.png.bak", "no image file", 0),
        ("cat/a.jpg~", "no image file", 0),
        ("cat/a.jpg.part", "no image file", 0),
        ("cat/notes.txt", "no image file", 0),
        ("cat/more/a.png", "a folder inside, with 1 image that is not read", 1),
        ("cat/a.png/x.png", "a folder inside, with 1 image that is not read", 1),
        ("cat/more/readme.txt", "a folder inside, with no images", 0),
        ("a.png", "an image beside the class folders, in no class", 1),
        ("a.heic", "an image of a kind that is not read .HEIC.", 1),
        ("labels.csv", "no image file", 0),
    ],
)
def test_what_is_not_read_is_named_in_warning_verify_and_record(photos, name, reason, images):
    put(photos, name)
    path = photos / name
    while path.parent not in (photos, photos / "cat"):
        path = path.parent
    raw = dataset(photos)
    assert len(raw) == 4 and [each.path for each in raw.unread] == [path] and raw.unread[0].images == images
    with pytest.warns(UserWarning, match=f"photos: not read: 1 .*; the first: {path}: {reason}"):
        prepared = prepare(raw, Preprocess(), use_cache=False)
    assert len(prepared) == 4 and prepared.skipped == (str(raw.unread[0]),) and prepared.kept is None
    found = verify(record("folder"), None, {"path": str(photos)})
    assert f"  not read: {raw.unread[0]}" in render(found)
    wanted = "all: 1 image file of other kinds or in other places, not read"
    assert found.faults == ([wanted] if images else [])
    if images:
        with pytest.raises(UserError, match=f"photos: not read: 1 image file; the first: {path}"):
            prepare(raw, Preprocess(), strict=True, use_cache=False)
    if path.parent == photos / "cat":
        with pytest.warns(UserWarning, match=f"the images given: not read: 1 .*{path.name}"):
            find_images([photos / "cat"])


def test_many_files_of_one_kind_are_one_line(photos):
    put(photos, *(f"cat/{number}.txt" for number in range(1000)), "cat/a.heic", "cat/b.heic", "dog/more/1.png")
    unread = dataset(photos).unread
    assert [each.images for each in unread] == [0, 1, 1, 1]
    assert str(unread[0]) == f"{photos}/cat/0.txt: no image file, like 999 more .txt there"
    with pytest.warns(UserWarning, match="not read: 3 image files and 1 other file or folder; the first: .*a.heic"):
        prepare(dataset(photos), Preprocess(), use_cache=False)


LEFTOVERS = ["._1.png", ".DS_Store", "Thumbs.db", "desktop.ini", "Icon\r", "__MACOSX/cat/._1.png", ".git/HEAD"]
LEFTOVERS += ["@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", ".ipynb_checkpoints/1.png", "__pycache__/a.pyc", ".hidden"]
LEFTOVERS += [f"{folder}/a/1.png" for folder in ("@Recycle", "@Recently-Snapshot", "#snapshot", "~snapshot", "@tmp")]
LEFTOVERS += [f"{folder}/1.png" for folder in ("@sharebin", "@SynoResource", "FOUND.000", ".@__thumb")]
LEFTOVERS += ["Temporary Items/1.png", "Network Trash Folder/1.png", "1.png:Zone.Identifier", "Thumbs.db:encryptable"]
LEFTOVERS += ["Picasa.ini", "ZbThumbnail.info", ".AppleDouble/1.png", ".Trash-1000/files/1.png", ".thumbnails/1.png"]
LEFTOVERS += [".unknown/readme.txt", ".unknown.conf", ".unknown/empty"]


@pytest.mark.parametrize("name", LEFTOVERS)
@pytest.mark.parametrize("inside", ["", "cat"])
def test_leftovers_are_no_classes_and_no_images(photos, name, inside, recwarn):
    put(photos / inside, name, data=b"\0\x05\x16\x07 a resource fork")
    raw = dataset(photos)
    assert raw.class_names == ("cat", "dog") and len(raw) == 4 and raw.unread == ()
    assert [path.name for path in find_images([photos / "cat"])] == ["1.png", "2.png"]
    prepare(raw, Preprocess(), use_cache=False)
    assert not recwarn.list


def test_a_hidden_folder_is_a_class_where_it_is_named(photos):
    put(photos, ".NET/1.png", ".NET/.2.png", "@tmp/1.png")
    options = {"path": str(photos), "classes": ("dog", ".NET", "cat", "@tmp")}
    raw = read_dataset("folder", None, options)
    assert raw.class_names == options["classes"] and np.bincount(raw.labels).tolist() == [2, 1, 2, 1]
    assert [str(each) for each in raw.unread] == [f"{photos}/.NET/.2.png: a hidden file"]
    with pytest.raises(UserError, match=r"no images .*; there is .NET: a hidden folder, with 1 image"):
        put(photos / "only", ".NET/1.png")
        find_images([photos / "only"], recursive=True)
    with pytest.raises(UserError, match=r"only: holds no class folders; there is .NET: a hidden folder, with 1 image"):
        dataset(photos / "only")


def test_a_hidden_folder_is_named_by_a_search_in_all_folders(photos):
    put(photos, ".NET/1.png")
    with pytest.warns(UserWarning, match="not read: 1 image file; the first: .*.NET: a hidden folder, with 1 image"):
        assert len(find_images([photos], recursive=True)) == 4
    assert len(find_images([photos / ".NET"])) == 1


def test_a_class_of_leftovers_and_other_kinds_alone_is_an_error(photos):
    put(photos, "cow/._1.jpg", "cow/Thumbs.db")
    with pytest.raises(UserError, match=r"cow: the class folder holds no images \(.png"):
        dataset(photos)
    put(photos, "cow/a.heic")
    with pytest.raises(UserError, match="cow: the class folder holds no images .*there is a.heic: .*HEIC"):
        dataset(photos)
    put(photos / "deep", "cat/a/1.png", "cat/a/2.png")
    with pytest.raises(UserError, match="cat: the class folder holds no images .*there is a: .* 2 images"):
        dataset(photos / "deep")
    put(photos / "flat", "1.png", "2.png")
    with pytest.raises(UserError, match="flat: holds no class folders .2 images lie in it directly"):
        dataset(photos / "flat")


@pytest.mark.parametrize("cached", [False, True])
def test_a_class_of_which_no_image_can_be_read_is_an_error(photos, tmp_path, monkeypatch, cached):
    monkeypatch.setenv("CNN_CACHE", str(tmp_path / "cache"))
    put(photos, "cow/1.jpg", "cow/2.jpg", data=b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    for _ in range(2):
        with pytest.raises(
            UserError, match="photos: none of the 2 images of the class 'cow' can be read: .*1.jpg.*HEIC"
        ):
            prepare(dataset(photos), Preprocess(), use_cache=cached)
    assert (
        "all: no image of the class 'cow' can be read" in verify(record("folder"), None, {"path": str(photos)}).faults
    )
    put(photos, "cow/3.jpg")
    with pytest.warns(UserWarning, match="2 of 7 images cannot be read"):
        assert np.bincount(prepare(dataset(photos), Preprocess(), use_cache=cached).labels).tolist() == [2, 1, 2]


def test_links_and_special_files(photos):
    os.mkfifo(photos / "cat" / "pipe.png")
    (photos / "cat" / "link.png").symlink_to(photos / "dog" / "1.png")
    raw = dataset(photos)
    assert len(raw) == 5 and [str(each) for each in raw.unread] == [f"{photos}/cat/pipe.png: no regular file"]


@pytest.mark.parametrize("name", ["more", ".more"])
def test_a_link_to_a_folder_inside_a_class_is_not_followed(photos, monkeypatch, name):
    """It may lead to the whole disk, of which each file would be looked at."""
    (photos / "cat" / name).symlink_to(photos.parent)
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda top, **options: [] if Path(top).is_symlink() else walk(top, **options))
    monkeypatch.setattr("engine.data.listing._is_image", lambda path: pytest.fail(f"{path} was looked at"))
    raw = dataset(photos)
    told = [f"{photos}/cat/more: a link to a folder, which is not followed"] if name == "more" else []
    assert len(raw) == 4 and [str(each) for each in raw.unread] == told


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("target", ["nowhere.png", "lost.png", "../dog/1.png/x.png"])
def test_a_link_that_leads_nowhere_is_an_unreadable_image(photos, tmp_path, monkeypatch, target, cached):
    monkeypatch.setenv("CNN_CACHE", str(tmp_path / "cache"))
    lost = photos / "cat" / "lost.png"
    lost.symlink_to(target)
    put(photos, "cat/junk.png", data=b"junk")
    with pytest.warns(UserWarning, match="photos: 2 of 6 images cannot be read and are left out.*junk.png"):
        prepared = prepare(dataset(photos), Preprocess(), use_cache=cached)
    assert len(prepared) == 4 and prepared.skipped[1].startswith(f"{lost}: cannot be read (")
    with pytest.raises(UserError, match="2 of 6 images cannot be read"):
        prepare(dataset(photos), Preprocess(), strict=True, use_cache=cached)
    assert "all: 2 images cannot be read" in verify(record("folder"), None, {"path": str(photos)}).faults
    lost.unlink()
    put(photos, "cat/lost.png")
    with pytest.warns(UserWarning, match="photos: 1 of 6 images cannot be read"):
        assert len(prepare(dataset(photos), Preprocess(), use_cache=cached)) == 5


def test_two_classes_in_one_folder_are_refused(photos):
    (photos / "kitten").symlink_to("cat")
    with pytest.raises(UserError, match="kitten: is the same folder as .*/cat, and each class needs one of its own"):
        dataset(photos)


def test_a_folder_that_must_not_be_read(photos, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("engine.data.listing.os.scandir", refused)
    with pytest.raises(UserError, match="cat: cannot be read .Permission denied"):
        images_in(photos / "cat")


def test_the_files_of_cmaterdb_beside_its_classes_belong_there(tmp_path):
    put(tmp_path / "cmaterdb", *(f"{digit}/a.png" for digit in range(10)))
    put(tmp_path / "cmaterdb", "training-images.npz", "testing-images.npz")
    assert read_dataset("cmaterdb", tmp_path, {"split": "all"}).unread == ()


def test_the_record_of_a_run_names_what_was_not_read(photos, tmp_path, monkeypatch, capsys):
    from engine import train
    from engine.cli import run

    monkeypatch.setenv("CNN_CACHE", "off")
    put(photos, "cat/a.heic", "b.png")
    (tmp_path / "run.yaml").write_text(
        f"dataset: {{name: folder, train: {{path: {json.dumps(str(photos))}}}}}\n"
        "model: {layers: [Flatten, {Linear: [64, 2]}], input_shape: [1, 8, 8]}\n"
        "optimizer: {name: SGD, lr: 0.01}\nbatch_size: 4\nepochs: 1\nsplit: {kind: none}\n"
    )
    out = tmp_path / "run"
    monkeypatch.setattr("sys.argv", ["train", str(tmp_path / "run.yaml"), "--out", str(out)])
    assert run(train.main) == 0
    assert capsys.readouterr().err.startswith("warning: photos: not read: 2 image files")
    skipped = json.loads((out / "result.json").read_text())["skipped_images"]
    assert [Path(each.partition(": ")[0]).name for each in skipped] == ["b.png", "a.heic"]
    event = json.loads((out / "log.jsonl").read_text().splitlines()[0])
    assert event["event"] == "skipped_images" and event["images"] == skipped
