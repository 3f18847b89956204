"""The page in a headless Chromium, as its user meets it: pen, keys, files, camera; it answers as `engine.predict`."""

import base64
import io

import cv2
import numpy as np
import pytest
from PIL import Image

import engine
from engine.data.images import decode_image
from engine.data.preprocess import Preprocess
from engine.export.page.document import document
from engine.inference.classify import classify
from engine.inference.ensemble import load_members, member_of
from engine.layers import Flatten, Linear
from tests.browser import View, violations

SEVEN = ((0.3, 0.22), (0.7, 0.22), (0.62, 0.45), (0.45, 0.8))


@pytest.fixture(scope="module")
def address(digits, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(document(load_members([digits.path])[0], "Digits"), "utf-8")
    return path.as_uri()


@pytest.fixture
def view(chromium, address):
    opened = []

    def open_view(*args, at=address, **kwargs):
        opened.append(View(chromium, at, *args, **kwargs))
        return opened[-1]

    yield open_view
    for each in opened:
        each.context.close()


def draw(page, places):
    box = page.locator("#pad").bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*at[0])
    page.mouse.down()
    for place in at[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


def answer(page, after=0):
    """The label, once there is one of the picture as it is; `after`: the number of an answer to a picture before."""
    for _ in range(1500):
        if page.evaluate("after => Boolean(latest && latest.id > after && !busy && !waiting)", after):
            return page.inner_text("#label")
        page.wait_for_timeout(20)
    raise AssertionError(f"no answer: {page.inner_text('#error')}")


def explained(page):
    """The label, once it is known which pixels count for it."""
    page.locator("#importance-text", has_text="count for").wait_for(timeout=30_000)
    return page.inner_text("#label")


def upload(page, *files):
    page.set_input_files("#file", [{"name": name, "mimeType": kind, "buffer": data} for name, kind, data in files])


def png(image):
    return cv2.imencode(".png", image)[1].tobytes()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_drawn_seven_is_a_seven_and_axe_has_nothing_to_say(view, scheme, width):
    page = (each := view(scheme, width)).page
    assert violations(page) == []
    draw(page, SEVEN)
    assert explained(page) == "7"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#layers canvas").count() == 12 and page.locator("#bars li").count() == 10
    assert violations(page) == []
    assert each.complaints == []


@pytest.mark.parametrize("integers", [False, True], ids=["float32", "int8"])
def test_labels_and_probabilities_of_200_digits_are_those_of_predict(view, digits, tmp_path, integers):
    paths = [tmp_path / f"{number}.png" for number in range(len(digits.images))]
    for path, image in zip(paths, digits.images, strict=True):
        path.write_bytes(png(image))
    net = tmp_path / "net.safetensors"
    net.write_bytes(digits.path.read_bytes())
    if integers:
        trained = engine.load(net)
        values = Preprocess.from_dict(trained.preprocess).normalise(digits.images[:64, None])
        engine.quantize(trained, values).save(net)
    members = load_members([net])
    said = list(classify(members, paths))
    (tmp_path / "page.html").write_text(document(members[0], "Digits"), "utf-8")
    page = (each := view(at=(tmp_path / "page.html").as_uri())).page
    found = page.evaluate(
        """async (files) => {
            const net = opened(network), found = [];
            for (const file of files) {
                const bytes = Uint8Array.from(atob(file), (sign) => sign.charCodeAt(0));
                const { rgba, width, height } = pixelsOf(await decoded(new Blob([bytes], { type: "image/png" })));
                const { scores } = classify(net, fromRGBA(rgba, width, height));
                found.push([network.classes[likeliest(scores)], Array.from(scores)]);
            }
            return found;
        }""",
        [base64.b64encode(path.read_bytes()).decode() for path in paths],
    )
    assert len(said) == 200
    assert [label for label, _ in found] == [each.label for each in said]
    assert np.abs(np.array([scores for _, scores in found]) - np.stack([each.scores for each in said])).max() <= 1e-5
    assert np.mean([each.label == str(label) for each, label in zip(said, digits.labels, strict=True)]) > 0.85
    assert each.complaints == []


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_a_chosen_file_is_answered_as_predict_answers_it(view, digits, tmp_path, kind):
    image = cv2.resize(digits.images[3], (301, 220), interpolation=cv2.INTER_CUBIC)
    colours = np.stack([image, image // 2, 255 - image], axis=2)
    path = tmp_path / f"picture.{kind}"
    path.write_bytes(cv2.imencode(f".{kind}", colours)[1].tobytes())
    (said,) = classify(load_members([digits.path]), [path])
    page = (each := view()).page
    upload(page, (path.name, f"image/{kind}", path.read_bytes()))
    assert answer(page) == said.label
    scores = np.array(page.evaluate("Array.from(latest.scores)"))
    # Decoders of JPEG and WebP may differ by a level in a pixel.
    assert np.abs(scores - said.scores).max() <= (1e-5 if kind == "png" else 0.02)
    assert each.complaints == []


def seen_of(page, data, kind):
    """The bytes that the network gets of a picture."""
    upload(page, ("picture", f"image/{kind}", data))
    answer(page)
    return np.array(page.evaluate("Array.from(latest.seen.data)"), np.uint8)


def test_turned_transparent_and_deep_pictures_are_seen_as_predict_sees_them(view, digits):
    """An Exif turn, an alpha channel and a palette with a transparent colour; 16 bits and half-transparent within a
    level."""
    image = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    turned, palette = io.BytesIO(), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth = cv2.resize(cv2.resize(image, (4, 3)), (84, 56), interpolation=cv2.INTER_CUBIC)
    Image.fromarray(smooth).save(turned, "JPEG", exif=exif, quality=100, subsampling=0)
    Image.fromarray(image).quantize(16).save(palette, "PNG", transparency=3)
    clear = np.dstack([image, np.where(image[..., :1] > 99, 255, 0).astype(np.uint8)])
    half = np.dstack([image, image[..., 1]])
    page = view().page
    for data, kind, most in (
        (turned.getvalue(), "jpeg", 1),
        (palette.getvalue(), "png", 0),
        (png(clear), "png", 0),
        (png(half), "png", 1),
        (png(image.astype(np.uint16) * 257), "png", 0),
        (png(image.astype(np.uint16) * 250 + 77), "png", 1),
    ):
        wanted = Preprocess(size=(28, 28)).prepare(decode_image(data)).ravel().astype(int)
        page.click("#clear")
        assert np.abs(seen_of(page, data, kind) - wanted).max() <= most


def test_a_dropped_file_is_taken(view, digits):
    page = view().page
    data = base64.b64encode(png(digits.images[0])).decode()
    page.evaluate(
        """(text) => {
            const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)), data = new DataTransfer();
            data.items.add(new File([bytes], "digit.png", { type: "image/png" }));
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        data,
    )
    assert answer(page) in "0123456789"
    assert page.is_hidden("#start")


def test_the_pen_is_moved_by_keys(view):
    page = (each := view()).page
    for _ in range(2):  # the link to the content and the theme come first
        page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "pad"
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    for key, count in (("Shift+ArrowRight", 4), ("ArrowDown", 2)):
        for _ in range(count):
            page.keyboard.press(key)
    page.keyboard.press("Space")
    assert answer(page) in "0123456789"
    (stroke,) = page.evaluate("pad.strokes.map(({ points }) => points)")
    assert len(stroke) == 7 and stroke[-1][0] - stroke[0][0] == pytest.approx(12 / 40)
    page.keyboard.press("Delete")
    assert page.inner_text("#label") == "–" and page.is_visible("#start") and page.is_hidden("#layers")
    assert each.complaints == []


def test_undo_clear_and_paper(view):
    page = view().page
    draw(page, SEVEN)
    draw(page, ((0.3, 0.5), (0.7, 0.5)))
    page.click("#undo")
    assert page.evaluate("pad.strokes.length") == 1
    corner = "[...pad.context.getImageData(2, 2, 1, 1).data]"
    assert page.evaluate(corner) == [0, 0, 0, 255]
    page.click("#paper")
    assert page.inner_text("#paper") == "Paper: white" and page.evaluate(corner) == [255, 255, 255, 255]
    page.click("#clear")
    assert page.evaluate("pad.empty") and page.inner_text("#label") == "–"


def test_a_photo_is_taken(view):
    page = (each := view(permissions=["camera"])).page
    page.click("#photo")
    page.wait_for_selector("#camera[open]")
    page.locator("#video").evaluate(
        "video => new Promise((done) => video.videoWidth ? done() : video.addEventListener('loadeddata', done))"
    )
    assert violations(page) == []
    page.click("#shoot")
    assert answer(page) in "0123456789"
    assert page.is_hidden("#camera") and page.evaluate("stream.tracks.length") == 0
    assert each.complaints == []


def test_dark_and_light_of_a_picture_are_swapped(view, digits):
    page = view().page
    draw(page, SEVEN)
    assert page.is_hidden("#invert")
    upload(page, ("digit.png", "image/png", png(255 - digits.images[0])))
    page.wait_for_selector("#invert:visible")
    answer(page)
    before = page.evaluate("latest.id")
    page.click("#invert")
    answer(page, before)
    assert page.evaluate("Array.from(latest.seen.data)") == digits.images[0].ravel().tolist()
    page.click("#clear")
    assert page.is_hidden("#invert")


def test_what_is_no_picture_is_told(view, digits):
    page = (each := view()).page
    upload(page, ("notes.png", "image/png", b"no picture"))
    page.wait_for_selector("#error:visible")
    assert page.inner_text("#error") == "notes.png: this browser reads no picture in it"
    upload(page, ("digit.png", "image/png", png(digits.images[0])))
    answer(page)
    assert page.is_hidden("#error") and each.complaints == []


def test_the_saved_picture_is_what_predict_answers_alike(view, digits, tmp_path):
    page = view().page
    draw(page, SEVEN)
    label = answer(page)
    with page.expect_download() as download:
        page.click("#save")
    path = tmp_path / "picture.png"
    download.value.save_as(path)
    (said,) = classify(load_members([digits.path]), [path])
    assert said.label == label
    assert np.abs(np.array(page.evaluate("Array.from(latest.scores)")) - said.scores).max() <= 1e-5


def test_many_classes_and_another_size(view, tmp_path):
    net = engine.Sequential([Flatten(), Linear(3 * 6 * 8, 25)], (3, 6, 8))
    net.preprocess = Preprocess(colour=True).to_dict()  # which keeps the size of a picture
    net.class_names = [f"<b>class {number}</b>, a long name" for number in range(25)]
    path = tmp_path / "page.html"
    path.write_text(document(member_of("net", net), "Many"), "utf-8")
    page = (each := view(width=390, at=path.as_uri())).page
    upload(page, ("large.png", "image/png", png(np.zeros((9, 9, 3), np.uint8))))
    page.wait_for_selector("#error:visible")
    assert page.inner_text("#error") == "the network takes pictures of 8×6 pixels, and this one gives 9×9"
    upload(page, ("right.png", "image/png", png(np.full((6, 8, 3), 77, np.uint8))))
    assert answer(page).startswith("<b>class ")
    assert page.locator("#bars li").count() == 10
    page.click("#more")
    assert page.locator("#bars li").count() == 25
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert violations(page) == [] and each.complaints == []


def test_which_pixels_count_are_where_the_weights_are(view, tmp_path):
    """A network that looks at its upper left corner alone, where light speaks for the first class."""
    weights = np.zeros((2, 1, 8, 8), np.float32)
    weights[0, 0, :2, :2] = 4
    net = engine.Sequential([Flatten(), Linear(64, 2)], (1, 8, 8))
    net.load_parameters({"1.weights": weights.reshape(2, 64)}, strict=False)
    net.preprocess = Preprocess(size=(8, 8)).to_dict()
    path = tmp_path / "page.html"
    path.write_text(document(member_of("net", net), "Corner"), "utf-8")
    page = view(at=path.as_uri()).page
    image = np.zeros((8, 8), np.uint8)
    image[:3, :3] = image[5:7, 5:7] = 255
    upload(page, ("corner.png", "image/png", png(image)))
    assert explained(page) == "0"
    counts = np.array(page.evaluate("Array.from(latest.map)")).reshape(8, 8)
    assert (counts[:2, :2] > 1).all() and np.abs(counts[3:, 3:]).max() < 1e-5


def test_without_workers_the_page_does_the_work(chromium, address):
    context = chromium.new_context()
    context.add_init_script("delete window.Worker")
    page = context.new_page()
    page.goto(address)
    draw(page, SEVEN)
    assert explained(page) == "7"
    context.close()
