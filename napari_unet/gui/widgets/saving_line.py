"""What has been saved of the corrections, and what can be brought back."""

from __future__ import annotations

from napari_unet.gui.controller import Controller
from napari_unet.gui.keeping_state import KeptOffer
from napari_unet.gui.widgets.base import Step, button, card, say, sentence


class SavingLine(Step):
    """One line while corrections are kept; a card with an offer where earlier ones are there."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controller)
        self.column.setContentsMargins(0, 0, 0, 0)
        keeper = controller.keeper
        self.line = sentence(name="facts")
        self.card, column = card()
        self.offer = sentence()
        self.go_on = button("Bring them back", "As they were at the end, with every edit", keeper.go_on, primary=True)
        self.both = button(
            "Keep both",
            "Go on with every edit, and have the last snapshot beside it: a hidden layer that cannot be painted on",
            keeper.keep_both,
        )
        self.saved = button(
            "Last snapshot only",
            "Without the edits that were made after it; these stay in the project folder, under “earlier”",
            keeper.open_saved,
        )
        column.addWidget(self.offer)
        column.addWidget(self.go_on)
        column.addWidget(self.both)
        column.addWidget(self.saved)
        self.add(self.card, self.line)
        self.bind(self._show, "keeping")

    def _show(self) -> None:
        keeping = self.state.keeping
        self.card.setVisible(keeping.offer is not None)
        self.line.setVisible(keeping.kept)
        self.line.setToolTip(f"In {keeping.folder}" if keeping.folder else "")
        if keeping.offer is not None:
            say(self.offer, offered(keeping.offer))
            for choice in (self.both, self.saved):
                choice.setVisible(keeping.offer.crashed and keeping.offer.edits > 0)
        if not keeping.kept:
            return
        if keeping.problem:
            say(self.line, f"NOT SAVED: {keeping.problem}. Your corrections are in memory, and it is tried again.")
        elif keeping.saved:
            say(self.line, f"Saved at {keeping.at}.")
        else:
            say(self.line, "Saving…")


def offered(offer: KeptOffer) -> str:
    """Say what can be brought back.

    >>> offered(KeptOffer(when="12 May 2026, 14:03", edits=34, crashed=True))
    'napari ended without closing this image. All corrections up to 12 May 2026, 14:03 are there, 34 edits of them made
    after the last snapshot.'
    """
    edits = f"{offer.edits:,} edit{'s' if offer.edits != 1 else ''}"
    if offer.reader_only:
        return f"This image was corrected up to {offer.when}. It can only be looked at: {offer.reader_only}"
    if not offer.crashed:
        return f"You corrected this image up to {offer.when}. Starting anew puts those corrections aside."
    after = f", {edits} of them made after the last snapshot" if offer.edits else ""
    return f"napari ended without closing this image. All corrections up to {offer.when} are there{after}."
