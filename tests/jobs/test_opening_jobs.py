"""Opening other people's weights, as the background process does it."""

import json

import numpy as np
import pytest
from imagecodecs import imread

import napari_unet as nu
from napari_unet.errors import ModelError, UnansweredError
from napari_unet.events import finish
from napari_unet.jobs import messages, opening
from napari_unet.jobs.requests import CompareRequest, ImageRef, ModelRef, OpenRequest
from napari_unet.jobs.scratch import Scratch
from napari_unet.jobs.work import ModelCache, work_for
from napari_unet.weights.recognition.recognised import Question

WAYS = Question("join", {"crop": "cut", "same": "keep"}, "How do they meet?")


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A file that is asked about, and what `load_model` was given."""
    given = []

    def load(path, **answers):
        given.append(answers)
        if "join" not in answers:
            raise UnansweredError("It does not say everything.", [WAYS])
        return nu.new_model("unet-small", classes=("background", "cell"), width=4, depth=1).with_spec(trained=True)

    monkeypatch.setattr(opening, "load_model", load)
    path = tmp_path / "theirs.pt"
    path.write_bytes(b"weights")
    return path, given


def open_it(path, folder, **more):
    return finish(work_for(OpenRequest(source=str(path), folder=str(folder), **more)))


def test_a_question_comes_back_and_its_answer_is_remembered_for_this_content(theirs, tmp_path):
    path, given = theirs
    asked = open_it(path, tmp_path / "opened")
    (question,) = asked.questions
    assert (asked.source, question.keyword) == ("", "join")
    assert [(choice.value, choice.text) for choice in question.choices] == [("crop", "cut"), ("same", "keep")]
    done = open_it(path, tmp_path / "opened", answers={"join": "same"})
    assert done.spec == nu.load_model(done.source).spec
    renamed = path.rename(path.with_name("renamed.pt"))
    assert open_it(renamed, tmp_path / "opened").source
    assert given[-1] == {"join": "same"}
    assert open_it(renamed, tmp_path / "opened", ask_again=True).questions
    renamed.write_bytes(b"other weights")
    assert open_it(renamed, tmp_path / "opened").questions


def test_damaged_answers_are_asked_for_again(theirs, tmp_path):
    path, _ = theirs
    (tmp_path / "opened").mkdir()
    (tmp_path / "opened" / opening.ANSWERS_FILE).write_text('["join"]')
    assert open_it(path, tmp_path / "opened").questions
    assert open_it(path, tmp_path / "opened", answers={"join": "crop"}).source
    assert list(json.loads((tmp_path / "opened" / opening.ANSWERS_FILE).read_text()).values()) == [{"join": "crop"}]


def test_only_the_latest_opened_models_are_kept(theirs, tmp_path, monkeypatch):
    path, _ = theirs
    monkeypatch.setattr(opening, "MOST_OPENED", 2)
    for number in range(4):
        path.write_bytes(bytes([number]))
        last = open_it(path, tmp_path / "opened", answers={"join": "crop"})
    kept = [str(file) for file in (tmp_path / "opened").glob("*.safetensors")]
    assert len(kept) == 2
    assert last.source in kept


def test_a_model_that_cannot_be_saved_stays_in_its_file_with_its_answers(tmp_path, monkeypatch):
    model = nu.new_model("unet-small", width=4, depth=1)

    def refuse(path):
        raise ModelError("It can only predict.")

    object.__setattr__(model, "save", refuse)
    monkeypatch.setattr(opening, "load_model", lambda path, **answers: model)
    path = tmp_path / "net.onnx"
    path.write_bytes(b"program")
    result = open_it(path, tmp_path / "opened", answers={"trust": True})
    assert (result.source, result.answers, result.can_train) == (str(path), {"trust": True}, False)


def test_a_missing_file_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(ModelError, match=r"gone\.pt.*cannot be read"):
        open_it(tmp_path / "gone.pt", tmp_path / "opened")


def test_each_answer_is_drawn_and_compared(theirs, tmp_path):
    path, given = theirs
    scratch = Scratch()
    image = np.random.default_rng(0).integers(0, 255, (3, 2, 40, 48), np.uint8)
    request = CompareRequest(
        source=str(path),
        keyword="join",
        values=("crop", "same"),
        image=ImageRef(array=scratch.stage(image), axes="CZYX"),
        region=((0, 1), (0, 2), (4, 36), (8, 40)),
        pictures=tuple(str(tmp_path / f"{number}.png") for number in range(3)),
    )
    result = finish(work_for(request))
    assert result.pictures == request.pictures
    assert [answers["join"] for answers in given] == ["crop", "same"]
    assert [imread(picture).shape for picture in result.pictures] == [(32, 32), (32, 32), (32, 32, 3)]
    assert result.difference == 0
    scratch.close()


def test_answers_travel_as_what_they_are():
    answers = {"align_corners": True, "recurrences": 1, "join": "same", "classes": ("background", "cell")}
    request = OpenRequest(source="a.pt", folder="opened", answers=answers)
    arrived = messages.decode_order(messages.encode_order(messages.Start(1, request))).request
    assert arrived == request
    assert [type(value) for value in arrived.answers.values()] == [bool, int, str, tuple]


def test_models_with_other_answers_are_other_models(tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr("napari_unet.jobs.work.load_model", lambda path, **answers: given.append(answers) or object())
    (tmp_path / "a.pt").write_bytes(b"weights")
    cache = ModelCache()
    first = cache.get(ModelRef(source=str(tmp_path / "a.pt"), answers={"trust": True}))
    assert cache.get(ModelRef(source=str(tmp_path / "a.pt"), answers={"trust": True})) is first
    assert cache.get(ModelRef(source=str(tmp_path / "a.pt"))) is not first
    assert given == [{"trust": True}, {}]
