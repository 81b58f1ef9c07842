"""The viewer's side of the background process, with a real process whose jobs are scripted."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from napari_unet.errors import JobError
from napari_unet.events import Notice, Progress, TileDone
from napari_unet.jobs.client import JobCancelled, JobClient, JobDone, JobEvent, JobFailed, Ready
from napari_unet.jobs.leftovers import is_running
from napari_unet.jobs.requests import ArrayRef, Device, MergeRequest, MergeResult

COMMAND = (sys.executable, str(Path(__file__).with_name("scripted_worker.py")))


def script(name):
    ref = ArrayRef(path=name, dtype="|u1", shape=(1, 1, 1, 1))
    return MergeRequest(predicted=ref, correction=ref, reviewed=ref, merged=ref)


def collect(client, until, timeout_s=20.0):
    """Poll as the viewer's timer does, until a message fits."""
    messages = []
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        for message in client.poll():
            messages.append(message)
            if until(message):
                return messages
        time.sleep(0.01)
    raise AssertionError(f"nothing fitting arrived among {messages}")


def ends(job):
    return lambda message: isinstance(message, JobDone | JobFailed | JobCancelled) and message.job == job


def goes_on(job):
    return lambda message: isinstance(message, JobEvent) and message.job == job


def has_ended(pid):
    """Whether a process has ended, even if its new parent has not collected it yet."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return not is_running(pid) or (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")
    except OSError:
        return True


@pytest.fixture
def client():
    client = JobClient(COMMAND)
    yield client
    client.close()


def test_viewer_side_does_not_import_torch():
    program = "import sys, napari_unet.jobs.client, napari_unet.jobs.scratch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_messages_arrive_in_order(client):
    first, second = client.submit(script("count")), client.submit(script("count"))
    assert client.busy
    messages = collect(client, ends(second))
    assert messages[0] == Ready((Device(name="cpu", title="Processor"),))
    assert [m.job for m in messages[1:]] == [first] * 11 + [second] * 11
    assert [m.event.done for m in messages[1:11]] == list(range(1, 11))
    assert messages[3].event == TileDone(3, 10, (((0, 1), (0, 1), (16, 24), (0, 8)),))
    assert messages[11] == JobDone(first, MergeResult(kept=1, new=2))
    assert not client.busy


def test_start_returns_at_once(client):
    begin = time.perf_counter()
    client.start()
    returned = time.perf_counter()
    assert client.alive
    assert not client.busy
    collect(client, lambda message: isinstance(message, Ready))
    assert returned - begin < (time.perf_counter() - begin) / 2


def test_cancel_ends_a_job_at_its_next_event(client):
    job = client.submit(script("go_on"))
    collect(client, goes_on(job))
    client.cancel(job)
    begin = time.monotonic()
    messages = collect(client, ends(job))
    assert messages[-1] == JobCancelled(job)
    assert time.monotonic() - begin < 5  # not ended by force
    assert client.alive


def test_a_paused_job_rests_and_goes_on(client):
    job = client.submit(script("go_on"))
    collect(client, goes_on(job))
    client.pause(job)
    time.sleep(0.3)  # what was on the way arrives
    client.poll()
    time.sleep(0.3)
    assert client.poll() == []
    assert client.busy
    client.pause(job, False)
    collect(client, goes_on(job))
    client.cancel(job)
    assert collect(client, ends(job))[-1] == JobCancelled(job)


def test_a_paused_job_can_be_cancelled(client):
    job = client.submit(script("go_on"))
    collect(client, goes_on(job))
    client.pause(job)
    time.sleep(0.3)
    client.cancel(job)
    begin = time.monotonic()
    assert collect(client, ends(job))[-1] == JobCancelled(job)
    assert time.monotonic() - begin < 5  # not ended by force
    assert client.alive


def test_cancelled_fit_answers_with_what_it_has(client):
    job = client.submit(script("answer_late"))
    collect(client, goes_on(job))
    client.cancel(job)
    messages = collect(client, ends(job))
    assert messages[-2:] == [
        JobEvent(job, Notice("Judging what was learnt so far.")),
        JobDone(job, MergeResult(kept=7, new=7)),
    ]


def test_discarded_fit_ends_at_once_without_an_answer(client):
    job = client.submit(script("answer_late"))
    collect(client, goes_on(job))
    client.cancel(job, keep=False)
    messages = collect(client, ends(job))
    assert messages[-1] == JobCancelled(job)
    assert JobEvent(job, Notice("Judging what was learnt so far.")) not in messages
    assert client.alive
    later = client.submit(script("answer_late"))
    collect(client, goes_on(later))
    client.cancel(later)
    assert collect(client, ends(later))[-1] == JobDone(later, MergeResult(kept=7, new=7))


def test_waiting_job_is_cancelled_without_ever_running(client):
    running, waiting, last = (client.submit(script(name)) for name in ("go_on", "go_on", "count"))
    collect(client, goes_on(running))
    client.cancel(waiting)
    collect(client, ends(waiting), timeout_s=1)
    client.cancel(running)
    messages = collect(client, ends(last))
    assert not [m for m in messages if m.job == waiting]
    assert isinstance(messages[-1], JobDone)


def test_job_that_ignores_cancel_is_ended_by_force_and_the_next_one_runs():
    client = JobClient(COMMAND, kill_after_s=0.5)
    stuck, last = client.submit(script("ignore_cancel")), client.submit(script("count"))
    collect(client, goes_on(stuck))
    client.cancel(stuck)
    messages = collect(client, ends(last))
    assert [m for m in messages if isinstance(m, JobCancelled)] == [JobCancelled(stuck)]
    assert isinstance(messages[-1], JobDone)
    client.close()


def test_crash_fails_every_job_with_one_sentence_and_the_next_submit_works(client):
    crashing, waiting = client.submit(script("crash")), client.submit(script("count"))
    messages = collect(client, ends(waiting))
    failed = [m for m in messages if isinstance(m, JobFailed)]
    assert [m.job for m in failed] == [crashing, waiting]
    assert "ended with exit code 3 before the job was done" in failed[0].sentence
    assert "Your layers are as they were" in failed[0].sentence
    assert "about to end" in failed[0].details
    assert not client.alive
    assert not client.busy
    again = client.submit(script("count"))
    assert isinstance(collect(client, ends(again))[-1], JobDone)


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(
    ("name", "words"),
    [("SIGKILL", "killed by the system, often because memory ran out"), ("SIGSEGV", "crashed (SIGSEGV)")],
)
def test_killed_process_is_explained(client, name, words):
    job = client.submit(script("go_on"))
    collect(client, goes_on(job))
    os.kill(client.process_id, getattr(signal, name))
    message = collect(client, ends(job))[-1]
    assert isinstance(message, JobFailed)
    assert words in message.sentence


@pytest.mark.parametrize(
    ("name", "sentence", "has_details"),
    [
        ("fail", "The image is odd. Choose another one.", False),
        ("surprise", "KeyError: 'nobody expected this'", True),
        ("no_memory", "There was too little memory", True),
    ],
)
def test_error_ends_only_its_job(client, name, sentence, has_details):
    job = client.submit(script(name))
    message = collect(client, ends(job))[-1]
    assert isinstance(message, JobFailed)
    assert sentence in message.sentence
    assert ("Traceback" in message.details) == has_details
    again = client.submit(script("count"))
    assert isinstance(collect(client, ends(again))[-1], JobDone)


def test_job_submitted_right_after_the_process_died_runs(client):
    collect(client, ends(client.submit(script("count"))))
    os.kill(client.process_id, signal.SIGTERM)
    while client.alive:
        time.sleep(0.001)
    job = client.submit(script("count"))
    assert isinstance(collect(client, ends(job))[-1], JobDone)


def test_process_that_lost_the_gpu_is_replaced(client):
    job = client.submit(script("lose_gpu"))
    message = collect(client, ends(job))[-1]
    assert message.sentence.startswith("The GPU stopped working for this program (CUDA error: an illegal memory")
    lost = client.process_id
    again = client.submit(script("count"))
    while not isinstance((message := collect(client, ends(again))[-1]), JobDone):
        assert message.sentence.startswith("The background process ended")
        again = client.submit(script("count"))
    assert client.process_id != lost


def test_process_that_cannot_load_is_explained():
    client = JobClient((*COMMAND, "--broken"))
    message = collect(client, ends(client.submit(script("count"))))[-1]
    assert "ended with exit code 1 while it was loading" in message.sentence
    assert "libtorch.so is missing" in message.details
    client.close()


def test_stray_prints_do_no_harm(client):
    job = client.submit(script("chatter"))
    messages = collect(client, ends(job))
    assert messages[1:] == [JobEvent(job, Progress("Chatting", 1, 1)), JobDone(job, MergeResult(kept=3, new=4))]


def test_close_leaves_no_process_and_is_final(client):
    job = client.submit(script("go_on"))
    collect(client, goes_on(job))
    pid = client.process_id
    begin = time.monotonic()
    client.close()
    assert time.monotonic() - begin < 5
    assert not is_running(pid)
    assert client.poll() == []
    with pytest.raises(JobError, match="closed"):
        client.submit(script("count"))


def test_forgotten_client_leaves_no_process():
    client = JobClient(COMMAND)
    client.start()
    pid = client.process_id
    del client
    assert not is_running(pid)


def test_command_that_does_not_exist_is_a_sentence():
    with pytest.raises(JobError, match="cannot be started"):
        JobClient(("no-such-program",)).start()


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("held_open", [False, True], ids=["pipe closes", "pipe inherited by another program"])
def test_killing_the_viewer_leaves_no_process(tmp_path, held_open):
    viewer = tmp_path / "viewer.py"
    viewer.write_text(
        textwrap.dedent(f"""
        import os, sys, time
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_client import COMMAND, JobClient, collect, goes_on, script
        client = JobClient(COMMAND)
        job = client.submit(script("go_on"))
        collect(client, goes_on(job))
        other = os.fork() if {held_open} else 0
        if {held_open} and other == 0:
            time.sleep(1000)
        print(client.process_id, other, flush=True)
        time.sleep(1000)
        """)
    )
    with subprocess.Popen([sys.executable, viewer], stdout=subprocess.PIPE, text=True) as parent:
        child, other = map(int, parent.stdout.readline().split())
        assert not has_ended(child)
        parent.kill()
        end = time.monotonic() + 2
        while not has_ended(child) and time.monotonic() < end:
            time.sleep(0.02)
        gone = has_ended(child)
        if other:
            os.kill(other, signal.SIGKILL)
    assert gone
