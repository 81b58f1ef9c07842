"""A background process whose fine-tuning does nothing: it proposes the model that it was given."""

from napari_unet.events import HeldOut, StepDone
from napari_unet.jobs import work
from napari_unet.jobs.worker import load, serve
from napari_unet.training.fit import FineTuneResult


def learn_nothing(model, *_pairs_and_settings, **_more):
    yield StepDone(1, 1.0, 0.1)
    return FineTuneResult(
        candidate=model,
        model=model,
        accepted=False,
        old_score=None,
        new_score=None,
        held_out_px=0,
        steps=0,
        seconds=0.1,
        history=(),
        replay=None,
        sentence="Nothing was learned.",
        held_out=HeldOut("Nothing is held out."),
    )


work.finetune_events = learn_nothing

if __name__ == "__main__":
    serve(load)
