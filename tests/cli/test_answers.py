"""Weights of other programs on the command line, and answers to what they leave open."""

import pytest
import torch


def convolution(name, into, out, side=3):
    return {f"{name}.weight": torch.randn(out, into, side, side) / 6, f"{name}.bias": torch.zeros(out)}


def double(name, into, out):
    state = {}
    for number, width in ((0, into), (3, out)):
        state |= convolution(f"{name}.{number}", width, out)
        state |= {f"{name}.{number + 1}.{leaf}": torch.ones(out) for leaf in ("weight", "bias", "running_var")}
        state[f"{name}.{number + 1}.running_mean"] = torch.zeros(out)
    return state


@pytest.fixture(scope="module")
def silent_file(tmp_path_factory):
    """A BatchNorm U-Net that does not say how encoder and decoder meet."""
    torch.manual_seed(0)
    state = double("inc.conv", 1, 4) | double("down1.maxpool_conv.1.conv", 4, 8) | double("up1.conv.conv", 8, 4)
    state |= {"up1.up.weight": torch.randn(8, 4, 2, 2) / 5, "up1.up.bias": torch.zeros(4)}
    path = tmp_path_factory.mktemp("theirs") / "forgotten.pth"
    torch.save(state | convolution("outc", 4, 2, 1), path)
    return path


def test_a_file_that_leaves_something_open_says_how_to_answer(run, silent_file, cells, tmp_path):
    code, _, err = run("segment", cells, "--model", silent_file, "--out", tmp_path)
    assert code == 1
    assert "--answer join=crop" in err
    assert not list(tmp_path.glob("*masks*"))


def test_an_answer_is_passed_on(run, silent_file, cells, tmp_path):
    code, out, err = run("segment", cells, "--model", silent_file, "--answer", "join=same", "--out", tmp_path / "out")
    assert code == 0, err
    assert "cells_masks.tif" in out


def test_finetune_takes_answers(run, silent_file, corrected, tmp_path):
    files = [word for kind, paths in corrected.items() for path in paths for word in (f"--{kind}", path)]
    answers = ["--answer", "join=same", "--answer", "classes=background,interior,border"]
    options = [*answers, "--out", tmp_path / "new.safetensors", "--seconds", 1]
    code, _, err = run("finetune", "--model", silent_file, *files, *options)
    assert code == 0, err
    assert (tmp_path / "new.safetensors").is_file()


def test_inspect_prints_what_was_recognised(run, silent_file):
    code, out, err = run("models", "--inspect", silent_file, "--answer", "join=pad")
    assert code == 0, err
    assert "Recognised: BatchNorm U-Net" in out
    assert "join='pad'" in out
    code, _, err = run("models", "--inspect", silent_file)
    assert code == 1
    assert "--answer join=" in err


def test_inspect_says_how_to_load_what_fits(run, silent_file, tmp_path):
    state = torch.load(silent_file, weights_only=True)
    del state["outc.bias"]
    torch.save(state, tmp_path / "almost.pth")
    code, _, err = run("models", "--inspect", tmp_path / "almost.pth", "--answer", "join=pad")
    assert code == 1
    assert "outc.bias" in err or "head.bias" in err
    assert "--answer partial=true" in err
    code, out, err = run(
        "models", "--inspect", tmp_path / "almost.pth", "--answer", "join=pad", "--answer", "partial=yes"
    )
    assert code == 0, err
    assert "Random weights: head.bias" in out


def test_inspect_tells_about_own_models_too(run, tiny):
    code, out, _ = run("models", "--inspect", tiny)
    assert code == 0
    assert "napari-unet model" in out


@pytest.mark.parametrize("answer", ["join", "join=", "=crop", "a b=c"])
def test_an_answer_that_is_none_is_a_sentence(run, silent_file, answer):
    code, _, err = run("models", "--inspect", silent_file, "--answer", answer)
    assert code == 1
    assert "is not KEYWORD=VALUE" in err


def test_a_variant_leaves_nothing_open(run, corrected, tmp_path):
    files = ["--image", corrected["image"][0], "--labels", corrected["labels"][0]]
    code, _, err = run(
        "finetune", "--model", "unet-small", *files, "--answer", "join=pad", "--out", tmp_path / "n.safetensors"
    )
    assert code == 1
    assert "is a variant" in err
