"""What lies in a folder of images: the files that are read, and everything else, which is counted and named.

Only what operating systems, file managers and tools leave behind is passed over without a word, and what is hidden (its
name begins with a dot) and holds no images.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.data.headers import START, kind_of
from engine.errors import UserError, warn

# The endings of the files that are read. The content decides what a file is; without a known ending it alone does.
SUFFIXES = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp"),
    "BMP": (".bmp", ".dib"),
    "WebP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "PNM": (".pgm", ".ppm", ".pbm", ".pnm"),
}
IMAGE_SUFFIXES = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
# Images of kinds that are not read.
OTHER_IMAGES = {
    "HEIC": (".heic", ".heif", ".hif"),
    "JPEG 2000": (".jp2", ".j2k", ".jpf", ".jpx"),
    "JPEG XL": (".jxl",),
    "JPEG XR": (".jxr",),
    "HDR": (".exr", ".hdr", ".pfm"),
    "DICOM": (".dcm",),
    "TGA": (".tga",),
    "PCX": (".pcx",),
    "icon": (".ico",),
    "Photoshop": (".psd",),
    "GIMP": (".xcf",),
    "vector": (".svg", ".eps"),
    "camera raw": (".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"),
}
OTHER_SUFFIXES = {suffix: kind for kind, suffixes in OTHER_IMAGES.items() for suffix in suffixes}
ANY_IMAGE = frozenset((*IMAGE_SUFFIXES, *OTHER_SUFFIXES))
# Never images, whatever they hold.
NO_IMAGES = frozenset(
    (
        *(".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".ini", ".log"),
        *(".html", ".htm", ".py", ".ipynb", ".pdf", ".npy", ".npz", ".mat", ".pkl", ".zip", ".gz", ".tar", ".7z"),
        *(".bak", ".old", ".orig", ".tmp", ".swp", ".part", ".partial", ".crdownload", ".download"),  # copies, parts
    )
)
# What macOS, Windows, Linux, Python and network storage put among files, in small letters.
LEFTOVERS = frozenset(
    (
        *("__macosx", "icon\r", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin"),
        *("found.000", "thumbs.db:encryptable", "picasa.ini", "zbthumbnail.info"),
        *("system volume information", "network trash folder", "temporary items", "lost+found", "__pycache__"),
        *("@eadir", "@tmp", "@sharebin", "@synoresource", "@synoeastream", "#recycle", "#snapshot", "~snapshot"),
        *("@recycle", "@recently-snapshot"),
        # Hidden ones.
        *(".ds_store", ".localized", ".spotlight-v100", ".fseventsd", ".temporaryitems", ".documentrevisions-v100"),
        *(".appledouble", ".appledb", ".appledesktop", ".apdisk", ".volumeicon.icns", ".pkinstallsandboxmanager"),
        *(".mobilebackups", ".hotfiles.btree", ".vol", ".file", ".lsoverride", ".metadata_never_index"),
        *(".directory", ".thumbnails", ".thumbs", ".thumb", ".@__thumb", ".xvpics", ".cache", ".comments", ".tmb"),
        *(".snapshot", ".snapshots", ".zfs", ".recycle", ".deleted", ".streams", ".syncthing", ".stfolder"),
        *(".stversions", ".sync", ".dropbox", ".dropbox.cache", ".dropbox.attr", ".owncloudsync.log", ".tmp", ".temp"),
        *(".picasa.ini", ".picasaoriginals", ".picasatemp", ".bridgesort", ".bridgelabelsandratings", ".bridgecache"),
        *(".bridgecachet", ".dtrash", ".dttrash", ".nomedia", ".hidden", ".empty", ".keep", ".placeholder"),
        *(".git", ".gitkeep", ".gitignore", ".gitattributes", ".gitmodules", ".hg", ".svn", ".bzr", ".dvc"),
        *(".dvcignore", ".venv", ".tox", ".idea", ".vscode", ".vs", ".ipynb_checkpoints", ".mypy_cache"),
        *(".pytest_cache", ".ruff_cache", ".virtual_documents"),
    )
)
BEGINNINGS = ("._", ".trash", ".~", ".nfs0", ".fuse_hidden", ".smbdelete", ".com.apple.", ".goutputstream-", ".wh.")
MARKS = (":zone.identifier",)  # what follows a file's name where Windows kept a second stream of it


@dataclass(frozen=True)
class Unread:
    """A file or folder that is not read, and why; `images` is how many image files it stands for."""

    path: Path
    reason: str
    images: int = 0

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Listing:
    """What lies directly in a folder, sorted by name: images that are read, folders, and what is not read."""

    images: tuple[Path, ...]
    folders: tuple[Path, ...]
    unread: tuple[Unread, ...]

    @property
    def instead(self) -> str:
        """What a message says behind "holds no images"."""
        first = f"; there is {self.unread[0].path.name}: {self.unread[0].reason}" if self.unread else ""
        return f" ({', '.join(IMAGE_SUFFIXES)}){first}"


def is_leftover(name: str) -> bool:
    """Whether an operating system, a file manager or a tool put this there."""
    lower = name.lower()
    return lower in LEFTOVERS or lower.startswith(BEGINNINGS) or lower.endswith(MARKS)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def scan(folder: Path, wanted: Collection[str] = ()) -> Listing:
    """The folder's files and folders, each told apart by its name; where that says nothing, by its first bytes.

    wanted: folders that are among the others although they are hidden or called like leftovers.
    """
    images: list[Path] = []
    folders: list[Path] = []
    unread: list[Unread] = []
    others: dict[str, list[Path]] = {}
    try:
        with os.scandir(folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from None
    for entry in entries:
        path, suffix = folder / entry.name, _suffix(entry.name)
        is_folder = _whether(entry.is_dir)
        if is_folder and entry.name in wanted:
            folders.append(path)
        elif is_leftover(entry.name):
            continue
        elif entry.name.startswith("."):
            if is_folder and _images_below(path):
                unread.append(_folder(path, "a hidden folder"))
            elif not is_folder and _is_image(path):
                unread.append(Unread(path, "a hidden file", 1))
        elif is_folder:
            folders.append(path)
        elif not _whether(entry.is_file) and path.exists():
            unread.append(Unread(path, "no regular file", int(suffix in IMAGE_SUFFIXES)))
        elif suffix in IMAGE_SUFFIXES:  # or a link that leads nowhere: an unreadable one
            images.append(path)
        elif suffix in OTHER_SUFFIXES:
            unread.append(Unread(path, f"an image of a kind that is not read ({OTHER_SUFFIXES[suffix]})", 1))
        elif _is_image(path):
            images.append(path)
        else:
            others.setdefault(suffix, []).append(path)
    for suffix, paths in others.items():
        more = f", like {len(paths) - 1:,} more {suffix or 'files without an ending'} there" if len(paths) > 1 else ""
        unread.append(Unread(paths[0], f"no image file{more}"))
    return Listing(tuple(images), tuple(folders), tuple(sorted(unread, key=lambda each: each.path)))


def _whether(asked: Callable[[], bool]) -> bool:
    """The answer; False for a link round in a circle or through a file, of which the system gives none."""
    try:
        return asked()
    except OSError:
        return False


def images_in(folder: Path) -> Listing:
    """The images directly in the folder; a folder in it is among what is not read, with the images below it."""
    found = scan(folder)
    inside = tuple(_folder(each) for each in found.folders)
    return Listing(found.images, (), tuple(sorted(found.unread + inside, key=lambda each: each.path)))


def images_below(folder: Path) -> Listing:
    """The images in the folder and in all folders inside it, folder by folder; links to folders are not followed."""
    found = scan(folder)
    images, unread = list(found.images), list(found.unread)
    for each in found.folders:
        if each.is_symlink():
            unread.append(_folder(each))
            continue
        inside = images_below(each)
        images += inside.images
        unread += inside.unread
    return Listing(tuple(images), (), tuple(unread))


def _folder(path: Path, what: str = "a folder inside") -> Unread:
    if path.is_symlink():
        return Unread(path, "a link to a folder, which is not followed")
    count = _images_below(path)
    images = "no images" if not count else "1 image that is not read" if count == 1 else f"{count:,} images not read"
    return Unread(path, f"{what}, with {images}", count)


def _images_below(path: Path) -> int:
    """How many images lie in the folder and in all folders inside it. Links are not followed, of which one may lead to
    the whole disk."""
    if path.is_symlink():
        return 0
    count = 0
    for place, folders, files in os.walk(path):
        folders[:] = [name for name in folders if not is_leftover(name)]
        count += sum(_is_image(Path(place, name)) for name in files if not is_leftover(name))
    return count


def _is_image(path: Path) -> bool:
    """Whether the file's name says that it is an image or, where that says nothing, its first bytes."""
    suffix = _suffix(path.name)
    if suffix in ANY_IMAGE or suffix in NO_IMAGES or suffix.endswith("~"):
        return suffix in ANY_IMAGE
    try:
        if not path.is_file():  # a pipe would wait for who writes into it
            return False
        with path.open("rb") as file:
            return kind_of(file.read(START)) is not None
    except OSError:
        return False


def describe_unread(name: str, unread: Sequence[Unread]) -> str:
    """One line: how many images and other files of `name` are not read, and the first of them."""
    images, others = sum(each.images for each in unread), sum(not each.images for each in unread)
    counted = [f"{images:,} image file{'s' * (images > 1)}"] * (images > 0)
    counted += [f"{others:,} other files or folders" if others > 1 else "1 other file or folder"] * (others > 0)
    what = " and ".join(counted)
    first = next((each for each in unread if each.images), unread[0])
    return f"{name}: not read: {what}; the first: {first}"


def warn_unread(name: str, unread: Sequence[Unread]) -> None:
    """Warn of what is not read, if there is anything."""
    if unread:
        warn(describe_unread(name, unread))


def is_folder(place: Path) -> bool:
    """Whether it is a folder that exists; False too for a name that is too long for any."""
    return _holds(place.is_dir)


def is_there(place: Path) -> bool:
    """Whether it exists; False too for a name that is too long for any file."""
    return _holds(place.exists)


def _holds(asked: Callable[[], bool]) -> bool:
    try:
        return asked()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False
