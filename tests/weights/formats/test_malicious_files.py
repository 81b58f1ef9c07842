"""Files made to do harm, and files that were harmed: nothing runs, nothing crashes, each gets a sentence."""

import contextlib
import functools
import importlib
import operator
import os
import pickle
import random
import runpy
import shutil
import socket
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from napari_unet.errors import ModelError
from napari_unet.weights.formats.opening import open_checkpoint
from napari_unet.weights.formats.pickled import read_pickled

STATE = {"conv.weight": torch.arange(72.0).reshape(4, 2, 3, 3), "conv.bias": torch.ones(4)}


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def code_that_writes(path):
    return f"open({str(path)!r}, 'w')"


PAYLOADS = {
    "posix.system": lambda mark: Calls(os.system, f"touch {mark}"),
    "posix.popen": lambda mark: Calls(os.popen, f"touch {mark}"),
    "posix.remove": lambda mark: Calls(os.remove, "nothing"),
    "subprocess.Popen": lambda mark: Calls(subprocess.Popen, ["touch", str(mark)]),
    "builtins.eval": lambda mark: Calls(eval, code_that_writes(mark)),
    "builtins.exec": lambda mark: Calls(exec, code_that_writes(mark)),
    "builtins.compile": lambda mark: Calls(compile, code_that_writes(mark), "", "exec"),
    "open": lambda mark: Calls(open, str(mark), "w"),
    "importlib.import_module": lambda mark: Calls(importlib.import_module, "antigravity"),
    "runpy.run_path": lambda mark: Calls(runpy.run_path, str(mark)),
    "shutil.copy": lambda mark: Calls(shutil.copy, __file__, str(mark)),
    "socket.create_connection": lambda mark: Calls(socket.create_connection, ("127.0.0.1", 9)),
    "operator.attrgetter": lambda mark: Calls(operator.attrgetter, "system"),
    "torch.hub.load": lambda mark: Calls(torch.hub.load, str(mark), "x"),
    "torch.load": lambda mark: Calls(torch.load, str(mark)),
    "torch.jit._serialization.load": lambda mark: Calls(torch.jit.load, str(mark)),
    "eval": lambda mark: Calls(functools.partial, eval, code_that_writes(mark)),
    "sys.exit": lambda mark: Calls(sys.exit, 1),
}


@pytest.fixture
def mark(tmp_path):
    path = tmp_path / "was-here"
    yield path
    assert not path.exists()
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", PAYLOADS)
def test_calls_that_run_programs_are_refused_by_name(tmp_path, mark, name, legacy):
    path = tmp_path / "evil.pth"
    content = {"state_dict": STATE, "extra": PAYLOADS[name](mark)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ModelError, match=r"refused: it asks for \"\w+\.") as caught:
        read_pickled(path)
    assert name.split(".")[-1] in str(caught.value)
    assert "Nothing of it was run" in str(caught.value)


def made_by_hand(path, instructions, storages=None, *, compression=zipfile.ZIP_STORED, extra=()):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", instructions)
        archive.writestr("archive/version", "3\n")
        for key, content in (storages or {"0": bytes(4)}).items():
            archive.writestr(f"archive/data/{key}", content)
        for name, content in extra:
            archive.writestr(name, content)
    return path


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def number(value):
    content = pickle.encode_long(value)
    return b"\x8a" + bytes([len(content)]) + content


def name(module, attribute):
    return b"c" + f"{module}\n{attribute}\n".encode()


def storage(items=1, key="0", kind="FloatStorage"):
    return b"(" + text("storage") + name("torch", kind) + text(key) + text("cpu") + number(items) + b"tQ"


def numbers(*values):
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(shape, strides, *, items=1, offset=0, key="0"):
    rest = b"\x89" + name("collections", "OrderedDict") + b")R"
    parts = storage(items, key) + number(offset) + numbers(*shape) + numbers(*strides)
    return name("torch._utils", "_rebuild_tensor_v2") + b"(" + parts + rest + b"tR"


def in_dict(value):
    return b"\x80\x02}" + text("w") + value + b"s."


def test_what_is_written_by_hand_is_read_where_it_is_honest(tmp_path):
    path = made_by_hand(tmp_path / "a.pth", in_dict(tensor((2, 2, 1), (2, 1, 1), items=4)), {"0": bytes(16)})
    assert torch.equal(read_pickled(path).states[0].tensors["w"], torch.zeros(2, 2, 1))


def called(callee, *arguments):
    return callee + b"(" + b"".join(arguments) + b"tR"


IMPORT_OS = called(name("builtins", "__import__"), text("os"))
BY_HAND = {
    "__import__": called(called(name("builtins", "getattr"), IMPORT_OS, text("system")), text("touch MARK")),
    "getattr": called(name("builtins", "getattr"), called(name("x", "y")), text("__class__")),
    "of Python 2": called(name("__builtin__", "eval"), text("open('MARK', 'w')")),
    "on Windows": called(name("nt", "system"), text("echo > MARK")),
    "through another module": called(name("torch", "os.system"), text("touch MARK")),
    "a function from code": called(name("types", "FunctionType"), b"N"),
    "a pickle in a pickle": called(name("pickle", "loads"), text("cos\nsystem\n")),
    "dill": called(name("dill._dill", "_load_type"), text("CodeType")),
}


@pytest.mark.parametrize("payload", BY_HAND)
def test_calls_written_by_hand_are_refused_by_name(tmp_path, mark, payload):
    content = BY_HAND[payload].replace(text("touch MARK"), text(f"touch {mark}"))
    with pytest.raises(ModelError, match=r"asks for \"[\w.]+\", which no set of weights needs"):
        read_pickled(made_by_hand(tmp_path / "evil.pth", in_dict(content)))


HUGE_CLAIMS = {
    "a view of one number that claims 40 GB": tensor((10**5, 10**5), (0, 0)),
    "a tensor larger than its storage": tensor((10**9, 4), (4, 1)),
    "a tensor that is only a little larger": tensor((2, 1), (1, 1)),
    "a tensor behind its storage": tensor((1, 1), (1, 1), offset=10**9),
    "a negative offset": tensor((1, 1), (1, 1), offset=-1),
    "negative strides": tensor((2, 2), (-1, 1), items=4),
    "a negative shape": tensor((-1, 1), (1, 1)),
    "a size beyond all numbers": tensor((2**62, 2**62, 2**62), (0, 0, 0)),
    "fewer strides than sides": tensor((1, 1), (1,)),
    "a storage that is not so large": tensor((2, 2), (2, 1), items=10**12),
    "a storage that is not there": tensor((2, 2), (2, 1), items=4, key="17"),
    "a storage of negative size": tensor((2, 2), (2, 1), items=-4),
    "bytes in plenty": name("builtins", "bytearray") + number(10**13) + b"\x85R",
    "a tensor made by its class": name("torch", "FloatTensor") + number(10**12) + b"\x85R",
    "a tensor made by torch.Tensor": name("torch", "Tensor") + number(10**12) + b"\x85\x81",
    "a storage made by its class": name("torch.storage", "UntypedStorage") + number(10**12) + b"\x85R",
    "a nested tensor": name("torch._utils", "_rebuild_nested_tensor") + b"(NNNNtR",
    "a call through a subclass": name("torch._tensor", "_rebuild_from_type_v2")
    + b"("
    + name("builtins", "bytearray")
    + name("torch", "Tensor")
    + number(10**12)
    + b"\x85}tR",
    "strides set afterwards": tensor((1, 1), (1, 1))
    + b"("
    + storage()
    + number(0)
    + numbers(10**12)
    + numbers(1)
    + b"tb",
}


@pytest.mark.parametrize("claim", HUGE_CLAIMS)
def test_claims_are_refused_before_memory_is_taken(tmp_path, claim, monkeypatch):
    path = made_by_hand(tmp_path / "claim.pth", in_dict(HUGE_CLAIMS[claim]), {"0": bytes(16)})
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch was asked to load it"))
    with pytest.raises(ModelError, match=r"refused|damaged"):
        read_pickled(path)


def test_many_small_claims_are_refused_as_well(tmp_path):
    large = tensor((1000, 1000), (0, 0))
    content = b"\x80\x02}(" + b"".join(text(f"w{index}") + large for index in range(100)) + b"u."
    with pytest.raises(ModelError, match="claims tensors of"):
        read_pickled(made_by_hand(tmp_path / "claims.pth", content))


def test_one_storage_with_two_sizes_is_refused(tmp_path):
    content = b"\x80\x02(" + tensor((1, 1), (1, 1), items=1) + tensor((2, 2), (2, 1), items=4) + b"t."
    with pytest.raises(ModelError, match="two sizes"):
        read_pickled(made_by_hand(tmp_path / "two.pth", content, {"0": bytes(16)}))


def test_objects_nested_beyond_measure_are_refused(tmp_path):
    doubled = b"]q\x00" + b"".join(b"](h%ch%ceq%c" % (i, i, i + 1) for i in range(40))
    for content in (doubled, b"]" * 100_000 + b"a" * 99_999):
        path = made_by_hand(tmp_path / "deep.pth", b"\x80\x02}" + text("x") + content + b"s.")
        with pytest.raises(ModelError, match=r"refused|damaged"):
            read_pickled(path)


def test_tuples_that_take_forever_to_compare_are_refused(tmp_path):
    doubled = b")q\x00" + b"".join(b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60))
    with pytest.raises(ModelError, match="tuples nested beyond all measure"):
        read_pickled(made_by_hand(tmp_path / "slow.pth", b"\x80\x02}" + doubled + b"Ns."))


class Treacherous:
    """Importable here, and would run code if a reader made one."""

    mark = None

    def __setstate__(self, state):
        Path(state["path"]).touch()


def test_a_class_that_could_be_imported_is_not(tmp_path, mark):
    evil = Treacherous()
    evil.path = str(mark)
    torch.save({"state_dict": STATE, "evil": evil}, tmp_path / "evil.pth")
    checkpoint = read_pickled(tmp_path / "evil.pth")
    assert checkpoint.extras["evil"] == {"path": str(mark)}
    assert "Treacherous" in checkpoint.notes[0]


def test_an_unknown_function_is_not_called_and_its_module_not_imported(tmp_path):
    content = name("antigravity", "fly") + text("now") + b"\x85R"
    body = b"\x80\x02}(" + text("w") + tensor((2, 2), (2, 1), items=4) + text("x") + content + b"u."
    checkpoint = read_pickled(made_by_hand(tmp_path / "x.pth", body, {"0": bytes(16)}))
    assert "antigravity.fly" in checkpoint.notes[0]
    assert "antigravity" not in sys.modules


def test_torch_is_never_asked_to_run_pickles(tmp_path, monkeypatch):
    load = torch.load
    seen = []
    monkeypatch.setattr(torch, "load", lambda *a, **k: seen.append(k["weights_only"]) or load(*a, **k))
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save(STATE, tmp_path / "a.pth")
    read_pickled(tmp_path / "a.pth")
    assert seen == [True]


def honest(path):
    torch.save(OrderedDict(STATE), path)
    return path


def equal_or_refused(path):
    """Whether a file gave the weights unchanged; refused in words is fine, anything else fails the test."""
    try:
        states = open_checkpoint(path).states
    except ModelError:
        return False
    (state,) = states
    assert set(state.tensors) == set(STATE)
    assert all(torch.equal(state.tensors[name], STATE[name]) for name in STATE)
    return True


def test_files_cut_short_anywhere_are_refused(tmp_path):
    content = honest(tmp_path / "whole.pth").read_bytes()
    for length in range(0, len(content), 61):
        (tmp_path / "cut.pth").write_bytes(content[:length])
        assert not equal_or_refused(tmp_path / "cut.pth")


def test_legacy_files_cut_short_anywhere_are_refused(tmp_path):
    torch.save(STATE, tmp_path / "whole.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "whole.pth").read_bytes()
    for length in range(0, len(content), 29):
        (tmp_path / "cut.pth").write_bytes(content[:length])
        assert not equal_or_refused(tmp_path / "cut.pth")


def test_a_flipped_bit_never_changes_a_weight_unseen(tmp_path):
    content = honest(tmp_path / "whole.pth").read_bytes()
    chance = random.Random(0)
    outcomes = []
    for _ in range(120):
        changed = bytearray(content)
        changed[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        (tmp_path / "flipped.pth").write_bytes(changed)
        outcomes.append(equal_or_refused(tmp_path / "flipped.pth"))
    assert not all(outcomes)  # some fell on what matters
    assert any(outcomes)  # and some on padding


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_forged_pickles_give_weights_or_a_sentence(tmp_path, legacy):
    """With a right checksum the pickle itself is reached: only ModelError may come out of it."""
    torch.save({"net": STATE, "x": [1, 2.5, "a", None]}, tmp_path / "a.pth", _use_new_zipfile_serialization=not legacy)
    content = (tmp_path / "a.pth").read_bytes()
    if not legacy:
        with zipfile.ZipFile(tmp_path / "a.pth") as archive:
            content = archive.read("a/data.pkl")
    chance = random.Random(1)
    for _ in range(150):
        changed = bytearray(content)
        for _ in range(chance.randint(1, 3)):
            changed[chance.randrange(len(content))] = chance.randrange(256)
        path = tmp_path / "forged.pth"
        if legacy:
            path.write_bytes(changed)
        else:
            made_by_hand(path, bytes(changed), {"0": bytes(288), "1": bytes(16)})
        with contextlib.suppress(ModelError):
            read_pickled(path)
