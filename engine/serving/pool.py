"""Networks on threads of their own: how many images are decoded and classified at a time."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cnncore

from engine.data.images import Image, NoImage, OversizedImage, decode_image, load_cv2
from engine.errors import UserError
from engine.inference.classify import Prediction, predictions, prepared_for
from engine.inference.ensemble import Member, load_members

TOO_LARGE, OTHER_KIND, CANNOT, BROKEN = 413, 415, 422, 500


class Refusal(Exception):
    """What is answered instead of a prediction: a status of HTTP, and one sentence."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class Pool:
    """So many workers, each a thread with a copy of the networks: the programs of one network run one at a time.

    UserError as `load_members` gives it.
    """

    def __init__(self, paths: Sequence[Path], workers: int):
        load_cv2()  # what is wrong with OpenCV is wrong with no image
        copies = [load_members(paths) for _ in range(workers)]
        self.members: Sequence[Member] = copies[0]
        self._free: queue.SimpleQueue[list[Member]] = queue.SimpleQueue()
        for each in copies:
            self._free.put(each)
        self._threads = ThreadPoolExecutor(workers, "cnn-serve", cnncore.release)

    def submit(self, images: Sequence[bytes], top: int) -> Future[list[Prediction]]:
        """What will be said of images in files of these bytes, each with its `top` likeliest classes; or a Refusal."""
        return self._threads.submit(self._answer, images, top)

    def close(self) -> None:
        """Wait for what has begun, and end the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _answer(self, images: Sequence[bytes], top: int) -> list[Prediction]:
        members = self._free.get()
        try:
            paths = [Path(f"image {number}" if len(images) > 1 else "image") for number in range(1, len(images) + 1)]
            # One after the other: what stays of an image is of the network's size.
            prepared = [_prepared(members, data, path) for data, path in zip(images, paths, strict=True)]
            try:
                return predictions(members, paths, prepared, top=top)
            except UserError as error:
                raise Refusal(BROKEN, str(error)) from None
        finally:
            self._free.put(members)


def _prepared(members: Sequence[Member], data: bytes, path: Path) -> list[Image]:
    try:
        return prepared_for(members, decode_image(data, path), path)
    except OversizedImage as error:
        raise Refusal(TOO_LARGE, str(error)) from None
    except NoImage as error:
        raise Refusal(OTHER_KIND, str(error)) from None
    except UserError as error:
        raise Refusal(CANNOT, str(error)) from None
