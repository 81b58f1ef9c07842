"""Downloads from the bioimage.io collection, here from a server on this computer."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
import yaml

import napari_unet as nu
from napari_unet.errors import ExportError, ModelError
from napari_unet.weights import collection

KEYS = {
    "down_convolution_1.0": (4, 1), "down_convolution_1.2": (4, 4), "down_convolution_2.0": (8, 4),
    "down_convolution_2.2": (8, 8), "up_convolution_1.0": (4, 8), "up_convolution_1.2": (4, 4),
}  # fmt: skip

FILES = "/artifacts/brave-test/files/"


def weights(path):
    """Write those of a padded U-Net of depth 1."""
    state = {}
    for name, shape in KEYS.items():
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.randn(*shape, 3, 3) * 0.2, torch.randn(shape[0])
    state["up_transpose_1.weight"], state["up_transpose_1.bias"] = torch.randn(8, 4, 2, 2), torch.randn(4)
    state["out.weight"], state["out.bias"] = torch.randn(1, 4, 1, 1), torch.randn(1)
    torch.save(state, path)


class Zoo:
    """A server with the files of one model."""

    def __init__(self, folder):
        self.files, self.asked, self.faults = {}, [], {}
        weights(folder / "w.pt")
        content = (folder / "w.pt").read_bytes()
        self.add("w.pt", content)
        self.add("tf.zip", b"not needed")
        self.document = {
            "format_version": "0.4.9",
            "type": "model",
            "name": "a model",
            "inputs": [{"name": "raw", "axes": "bcyx", "shape": {"min": [1, 1, 16, 16], "step": [0, 0, 2, 2]}}],
            "outputs": [{"name": "out", "axes": "bcyx", "postprocessing": [{"name": "sigmoid"}]}],
            "weights": {
                "pytorch_state_dict": {"source": "w.pt", "sha256": hashlib.sha256(content).hexdigest()},
                "tensorflow_saved_model_bundle": {"source": "tf.zip"},
            },
        }
        self.describe()
        entries = [
            {"id": "bioimage-io/brave-test", "type": "model", "manifest": {"name": "a model", "description": "finds"}},
            {"id": "bioimage-io/some-data", "type": "dataset", "manifest": {"name": "images"}},
            {"id": "bioimage-io/../evil", "type": "model", "manifest": {"name": "x"}},
            "nonsense",
        ]
        self.files["/artifacts/bioimage.io/children"] = json.dumps(entries).encode()

    def add(self, name, content):
        self.files[f"/artifacts/brave-test/files/{name}"] = content

    def describe(self):
        self.add("rdf.yaml", yaml.safe_dump(self.document).encode())


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    made = Zoo(tmp_path)

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            made.asked.append(path)
            fault = made.faults.get(path)
            if isinstance(fault, str):
                self.send_response(302)
                self.send_header("Location", fault)
                self.end_headers()
                return
            content = made.files.get(path)
            self.send_response(fault or (200 if content is not None else 404))
            self.send_header("Content-Length", str(len(content or b"") + (50 if fault == 206 else 0)))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(collection, "ADDRESS", f"http://127.0.0.1:{server.server_port}/artifacts")
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


def leftovers(folder):
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def test_models_are_listed(zoo):
    assert collection.list_models() == (collection.Listed("brave-test", "a model", "finds"),)


def test_a_model_opens_by_name_and_then_without_internet(zoo, monkeypatch):
    model = nu.load_model("bioimage.io:brave-test")
    assert model.spec.name == "a model"
    assert "/artifacts/brave-test/files/tf.zip" not in zoo.asked  # what cannot be opened is not fetched
    assert list(collection.downloaded()) == ["brave-test"]
    monkeypatch.setattr(collection, "ADDRESS", "http://127.0.0.1:9/nobody")
    again = nu.load_model("bioimage.io:brave-test")
    assert again.sha256 == model.sha256
    assert nu.predict(again, np.random.default_rng(0).uniform(size=(32, 32))).shape == (1, 32, 32)


def test_the_newer_name_of_the_description_is_known(zoo, tmp_path):
    zoo.add("bioimageio.yaml", zoo.files.pop(f"{FILES}rdf.yaml"))
    path = collection.download("brave-test", tmp_path / "zoo")
    assert nu.load_model(path).spec.name == "a model"


def test_progress_is_told(zoo, tmp_path):
    events = list(collection.download_events("brave-test", tmp_path / "zoo"))
    assert [event.done for event in events] == sorted(event.done for event in events)
    assert events[-1].done == events[-1].total


def test_without_internet_one_sentence_says_so(monkeypatch, own_home):
    monkeypatch.setattr(collection, "ADDRESS", "http://127.0.0.1:9/nobody")
    with pytest.raises(ModelError, match=r"cannot be reached .*Check the internet connection"):
        nu.load_model("bioimage.io:brave-test")
    with pytest.raises(ModelError, match="cannot be reached"):
        collection.list_models()


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "Affable Shark", "bioimage.io:../x"])
def test_strange_names_are_refused_before_anything_is_asked(zoo, tmp_path, name):
    with pytest.raises(ModelError, match="is no name of a model"):
        collection.download(name, tmp_path / "zoo")
    assert not zoo.asked


def test_an_unknown_model_gets_a_sentence(zoo, tmp_path):
    with pytest.raises(ModelError, match=r"There is no model .shy-test. at bioimage\.io"):
        collection.download("shy-test", tmp_path / "zoo")


def spoil(**changes):
    def change(zoo):
        zoo.document["weights"]["pytorch_state_dict"].update(changes)
        zoo.describe()

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda zoo: zoo.add("w.pt", b"something else"), "SHA-256"),
        (lambda zoo: zoo.files.pop(f"{FILES}w.pt"), r"has no file .w\.pt."),
        (lambda zoo: zoo.faults.update({f"{FILES}w.pt": 206}), "only in part"),
        (lambda zoo: zoo.faults.update({f"{FILES}w.pt": 503}), "503"),
        (lambda zoo: zoo.faults.update({f"{FILES}w.pt": "ftp://127.0.0.1/w.pt"}), "cannot be reached"),
        (lambda zoo: zoo.faults.update({f"{FILES}w.pt": "file:///etc/passwd"}), "not allowed"),
        (lambda zoo: zoo.add("rdf.yaml", b"a: [1"), "cannot be read as YAML"),
        (spoil(source="../../evil.pt"), "keeps a file elsewhere"),
        (spoil(source="https://example.org/w.pt"), "keeps a file elsewhere"),
    ],
)
def test_bad_downloads_leave_nothing_behind(zoo, tmp_path, change, said):
    change(zoo)
    folder = tmp_path / "zoo"
    with pytest.raises(ModelError, match=said):
        collection.download("brave-test", folder)
    assert leftovers(folder) == []


def test_too_large_files_are_refused(zoo, tmp_path, monkeypatch):
    monkeypatch.setattr(collection, "MAX_FILE_BYTES", 100)
    with pytest.raises(ModelError, match="larger than 100 bytes"):
        collection.download("brave-test", tmp_path / "zoo")
    assert leftovers(tmp_path / "zoo") == []


def test_a_stopped_download_leaves_nothing_behind(zoo, tmp_path):
    events = collection.download_events("brave-test", tmp_path / "zoo")
    next(events)
    next(events)
    events.close()
    assert leftovers(tmp_path / "zoo") == []


def test_a_folder_that_cannot_be_made_gets_a_sentence(zoo, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError, match="cannot be kept"):
        collection.download("brave-test", tmp_path / "file" / "zoo")
