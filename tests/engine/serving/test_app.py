"""The application, asked as its clients do: it answers as `engine.predict`, and a bad request has one clear error."""

import asyncio
import base64
import json
import struct
import zlib
from dataclasses import replace

import cv2
import numpy as np
import pytest

import engine
from engine.data.digits import digits5k
from engine.data.preprocess import Preprocess
from engine.errors import UserError
from engine.inference.classify import classify
from engine.inference.ensemble import load_members
from engine.inference.rows import Form, record
from engine.models.mnist import mnist_cnn
from engine.serving.limits import Limits
from engine.serving.pool import Pool

pytest.importorskip("starlette", reason="the server needs starlette")

from engine.serving.app import DRAINED, Service, application  # noqa: E402

LIMITS = Limits(body=200_000, images=3, seconds=0.5)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    net = mnist_cnn(seed=3)
    net.preprocess = Preprocess(size=(28, 28)).to_dict()
    net.class_names = [f"digit {number}" for number in range(10)]
    path = tmp_path_factory.mktemp("serving") / "net.safetensors"
    net.save(path)
    return path


@pytest.fixture(scope="module")
def pool(network):
    pool = Pool([network], 2)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Images as their files' bytes, by name: a digit, a photo in colour, of other sizes and kinds."""
    folder = tmp_path_factory.mktemp("images")
    digits, _ = digits5k()
    colours = np.random.default_rng(0).integers(0, 256, (45, 61, 3), np.uint8)
    for name, image in (("digit.png", digits[2100]), ("photo.jpg", colours), ("photo.bmp", colours)):
        cv2.imwrite(str(folder / name), image)
    return {path.name: path for path in folder.iterdir()}


class Client:
    """Speaks ASGI to the application, without a socket."""

    def __init__(self, app):
        self.app = app

    def __call__(self, method, path, parts=(), headers=(), pause=0.0):
        return asyncio.run(self.ask(method, path, parts, headers, pause))

    async def ask(self, method, path, parts=(), headers=(), pause=0.0):
        """Status, headers and body; `pause`: seconds before each part of the body."""
        path, _, query = path.partition("?")
        waiting = [*({"type": "http.request", "body": part, "more_body": True} for part in parts)]
        waiting.append({"type": "http.request", "body": b"", "more_body": False})
        sent = []

        async def receive():
            if pause:
                await asyncio.sleep(pause)
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8000),
        }
        await self.app(scope, receive, send)
        start, *rest = sent
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        return start["status"], headers, b"".join(each.get("body", b"") for each in rest)


@pytest.fixture(scope="module")
def client(pool):
    return Client(application(pool, "<p>the page</p>", LIMITS))


def error_of(response, status):
    """The one sentence of a refusal."""
    assert response[0] == status, response
    assert response[1]["content-type"] == "application/json"
    (key,) = content = json.loads(response[2])
    assert key == "error" and "\n" not in content["error"] and "Traceback" not in content["error"]
    return content["error"]


def as_list(*images):
    return json.dumps([base64.b64encode(image).decode() for image in images]).encode()


JSON = (("content-type", "application/json; charset=utf-8"),)


def test_an_image_is_answered_as_predict_answers_it(client, network, files):
    members = load_members([network])
    for path in files.values():
        (said,) = classify(members, [path], top=3)
        form = Form(members[0].class_names, 3, True, json=True)
        expected = {key: value for key, value in record(said, form).items() if key != "file"}
        status, headers, body = client("POST", "/predict?top=3&probabilities=1", [path.read_bytes()])
        assert (status, headers["content-type"], json.loads(body)) == (200, "application/json", expected)
        short = json.loads(client("POST", "/predict", [path.read_bytes()])[2])
        assert short == {"label": said.label, "probability": expected["probability"]}


def test_a_body_may_come_in_parts(client, files):
    data = files["photo.bmp"].read_bytes()
    parts = [data[start : start + 999] for start in range(0, len(data), 999)]
    assert client("POST", "/predict", parts)[2] == client("POST", "/predict", [data])[2]


def test_a_list_is_answered_by_a_list(client, network, files):
    members = load_members([network])
    said = list(classify(members, list(files.values())))
    status, _, body = client("POST", "/predict", [as_list(*(path.read_bytes() for path in files.values()))], JSON)
    found = json.loads(body)
    assert status == 200 and [each["label"] for each in found] == [each.label for each in said]
    assert np.allclose([each["probability"] for each in found], [each.probability for each in said], atol=1e-6)
    (alone,) = json.loads(client("POST", "/predict", [as_list(files["digit.png"].read_bytes())], JSON)[2])
    assert alone == json.loads(client("POST", "/predict", [files["digit.png"].read_bytes()])[2])


def bomb(width, height):
    """A PNG of a few bytes that states this size."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


BAD_IMAGES = {
    "empty": (b"", 422, "image: the image file is empty"),
    "text": (b"hello", 415, "image: not an image that can be decoded"),
    "pdf": (b"%PDF-1.7 ...", 415, "a file of the kind PDF"),
    "bomb": (bomb(60_000, 60_000), 413, "60000x60000 pixels, more than the 67108864 allowed"),
    "costly": (bomb(8000, 8000), 413, "more than an image in a file of that size is given"),
    "cut off": (bomb(30, 30)[:60], 422, "image: the image file is truncated"),
}


@pytest.mark.parametrize("data, status, words", BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_what_is_no_image_has_one_clear_error(client, data, status, words):
    assert words in error_of(client("POST", "/predict", [data]), status)


def test_an_image_of_a_list_is_named(client, files):
    good = files["digit.png"].read_bytes()
    for data, status, words in BAD_IMAGES.values():
        said = error_of(client("POST", "/predict", [as_list(good, data, good)], JSON), status)
        assert said.startswith("image 2: ") and words.removeprefix("image: ") in said


@pytest.mark.parametrize(
    "body, status, words",
    [
        (b"{", 400, "not the JSON that its Content-Type says"),
        (b"[" * 100_000, 400, "not the JSON that its Content-Type says"),
        (b"\xff\xfe", 400, "not the JSON that its Content-Type says"),
        (b'{"images": []}', 400, "a JSON list of texts"),
        (b"[1]", 400, "a JSON list of texts"),
        (b'["a b"]', 400, "image 1: is no base64"),
        ('["é"]'.encode(), 400, "image 1: is no base64"),
        (b"[]", 422, "expected 1 to 3 images in a list, got 0"),
        (b'["", "", "", ""]', 422, "expected 1 to 3 images in a list, got 4"),
    ],
    ids=["cut", "deep", "bytes", "object", "number", "blank", "sign", "none", "many"],
)
def test_what_is_no_list_of_images(client, body, status, words):
    assert words in error_of(client("POST", "/predict", [body], JSON), status)


@pytest.mark.parametrize(
    "query, words",
    [
        ("top=0", "top must be from 1 to 10, the network's classes, not '0'"),
        ("top=11", "not '11'"),
        ("top=%C2%B2", "not '²'"),
        ("top=" + "9" * 5000, "top must be"),
        ("probabilities=yes", "probabilities must be 1 or 0, not 'yes'"),
        ("tpo=1", "unknown parameter 'tpo'; did you mean 'top'?"),
    ],
    ids=["zero", "many", "sign", "long", "word", "unknown"],
)
def test_wrong_parameters(client, files, query, words):
    assert words in error_of(client("POST", f"/predict?{query}", [files["digit.png"].read_bytes()]), 400)


def test_a_body_that_is_too_large(client):
    part = b"x" * 50_000
    said = error_of(client("POST", "/predict", [part] * 5), 413)
    assert said == "the body has more than the 200000 bytes allowed"
    huge = (("content-length", str(DRAINED * LIMITS.body + 1)),)
    assert error_of(client("POST", "/predict", [], huge), 413) == said
    assert error_of(client("POST", "/predict", [], (("content-length", "9" * 4000),)), 413) == said
    endless = [part] * 1000
    assert error_of(client("POST", "/predict", endless), 413) == said


def test_a_body_that_does_not_come(client, pool):
    said = error_of(client("POST", "/predict", [b"x"] * 20, pause=0.2), 408)
    assert said == "the body did not arrive within 0.5 seconds"


def test_a_form_of_files_is_told_what_to_send(client):
    kind = (("content-type", "multipart/form-data; boundary=x"),)
    assert "an image's bytes, or a JSON list in base64" in error_of(client("POST", "/predict", [b"--x"], kind), 415)


def test_other_places_and_methods(client):
    assert "GET /nothing: Not Found" in error_of(client("GET", "/nothing"), 404)
    response = client("GET", "/predict")
    assert "GET /predict: Method Not Allowed" in error_of(response, 405) and response[1]["allow"] == "POST"
    assert "/healthz" in error_of(client("POST", "/healthz"), 405)


def test_health_and_page(client):
    status, _, body = client("GET", "/healthz")
    known = {
        "status": "ok",
        "networks": ["net.safetensors"],
        "classes": [f"digit {n}" for n in range(10)],
        "under_way": 0,
    }
    assert status == 200 and json.loads(body) == known
    status, headers, body = client("GET", "/")
    assert status == 200 and headers["content-type"].startswith("text/html") and body == b"<p>the page</p>"


def test_why_there_is_no_page(pool):
    without = Client(application(pool, UserError("it is too large"), LIMITS))
    assert error_of(without("GET", "/"), 404) == "there is no page here (it is too large); POST an image to /predict"


def test_one_more_than_are_taken_is_told_to_come_back(pool, files):
    app = application(pool, "", replace(LIMITS, requests=2))
    data = files["digit.png"].read_bytes()

    async def three():
        client = Client(app)
        asked = [client.ask("POST", "/predict", [data], pause=0.1) for _ in range(3)]
        return await asyncio.gather(*asked)

    responses = sorted(asyncio.run(three()), key=lambda each: each[0])
    assert [status for status, _, _ in responses] == [200, 200, 503]
    assert "2 requests are under way" in error_of(responses[2], 503) and responses[2][1]["retry-after"] == "1"
    assert Client(app)("POST", "/predict", [data])[0] == 200


def test_many_at_a_time_get_their_own_answers(pool, network):
    digits, _ = digits5k()
    images = [cv2.imencode(".png", image)[1].tobytes() for image in digits[::100]]
    app = application(pool, "", LIMITS)
    alone = [json.loads(Client(app)("POST", "/predict?probabilities=1", [data])[2]) for data in images]

    async def together():
        client = Client(app)
        return await asyncio.gather(*(client.ask("POST", "/predict?probabilities=1", [data]) for data in images))

    assert [json.loads(body) for _, _, body in asyncio.run(together())] == alone
    assert len({each["probability"] for each in alone}) > 40


def test_an_image_that_does_not_fit_and_a_network_that_gives_no_number(tmp_path, files):
    net = engine.Sequential([engine.Flatten(), engine.Linear(12, 2)], (1, 3, 4))
    net.preprocess = Preprocess(scale="none").to_dict()
    net.load_parameters({"1.weights": np.full((2, 12), 3e38, np.float32)}, strict=False)
    path = tmp_path / "net.safetensors"
    net.save(path)
    pool = Pool([path], 1)
    try:
        client = Client(application(pool, "", Limits()))
        said = error_of(client("POST", "/predict", [files["digit.png"].read_bytes()]), 422)
        assert said.startswith("image: gives an input of shape (1, 28, 28), the network in ")
        data = cv2.imencode(".png", np.full((3, 4), 200, np.uint8))[1].tobytes()
        assert "inf" in error_of(client("POST", "/predict", [data]), 500)
    finally:
        pool.close()


def test_a_client_that_goes_leaves_nothing_behind(pool):
    service = Service(pool, "", LIMITS)

    async def gone():
        from starlette.requests import Request

        async def receive():
            return {"type": "http.disconnect"}

        scope = {"type": "http", "method": "POST", "headers": [], "query_string": b"", "path": "/predict"}
        with pytest.raises(Exception, match="the connection ended before the body did"):
            await service.predict(Request(scope, receive))

    asyncio.run(gone())
    assert service.under_way == 0
