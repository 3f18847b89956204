"""A folder of photographs as people have them: several kinds of files and sizes, some on their side, one damaged."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path

import numpy as np

from engine.data.images import Image, load_cv2
from engine.data.readers import read_dataset

# Classes of the set of scenes, and what somebody might call them.
NAMES = {"coast": "beach", "forest": "woods", "highway": "motorway", "tallbuilding": "tall buildings"}
SIZES = ((480, 640), (640, 480), (600, 800), (320, 320), (683, 1024), (180, 240))  # height, width
ENDINGS = (".jpg", ".JPG", ".png", ".webp", ".jpeg")
PHOTOS, NEW, TRUTH = "photos", "new", "truth.csv"
ON_ITS_SIDE = 6  # Exif: a quarter turn clockwise makes the image upright


def make_photos(place: Path, root: Path | None, per_class: int = 110, new: int = 8) -> None:
    """Write PHOTOS, NEW and TRUTH into `place`: of each class so many photographs to learn from, and so many others.

    root: the folder of the data sets, with the set of scenes in it; UserError where that is missing.
    """
    draw = np.random.default_rng(0)
    truth = ["filename,label"]
    for split, count in (("train", per_class), ("test", new)):
        raw = read_dataset("scenes", root, {"split": split})
        seen: Counter[str] = Counter()
        for image, label in zip(raw.images, raw.labels, strict=True):
            scene = raw.class_names[label]
            if scene not in NAMES or seen[scene] == count:
                continue
            number = seen[scene]
            seen[scene] += 1
            name = NAMES[scene]
            size = SIZES[int(draw.integers(len(SIZES)))]
            if split == "train":
                write_photo(place / PHOTOS / name / f"IMG_{1000 + number}", image, size, number)
            else:
                path = write_photo(place / NEW / f"{name.replace(' ', '_')}_{number}", image, size, number)
                truth.append(f"{path.name},{name}")
    (place / TRUTH).write_text("\n".join(truth) + "\n", "utf-8")
    (place / PHOTOS / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")  # macOS leaves one in every folder that it shows
    whole = (place / PHOTOS / "woods" / "IMG_1000.jpg").read_bytes()
    (place / PHOTOS / "woods" / "IMG_9999.jpg").write_bytes(whole[: len(whole) // 3])


def write_photo(stem: Path, image: Image, size: tuple[int, int], number: int) -> Path:
    """Write an RGB image, uint8 (H, W, 3), enlarged and cropped to `size` (height, width), and return its file: of a
    kind that `number` picks; of the JPEGs among them some lie on their side, as cameras write them."""
    cv2 = load_cv2()
    height, width = size
    scale = max(height / image.shape[0], width / image.shape[1])
    large = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    photo = large[:height, :width, ::-1]  # OpenCV writes blue first
    path = stem.with_suffix(ENDINGS[number % len(ENDINGS)])
    path.parent.mkdir(parents=True, exist_ok=True)
    turned = number % len(ENDINGS) == 0 and number % 3 == 2
    content = cv2.imencode(path.suffix.lower(), np.rot90(photo) if turned else photo)[1].tobytes()
    path.write_bytes(with_orientation(content, ON_ITS_SIDE) if turned else content)
    return path


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with an Exif segment behind its first marker that holds the orientation and nothing else."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)  # tag, 16 bits each, one value
    exif = b"Exif\0\0" + b"II*\0" + struct.pack("<IH", 8, 1) + entry + struct.pack("<I", 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
