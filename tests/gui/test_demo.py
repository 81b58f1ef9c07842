"""The demonstration, as ``make demo`` runs it without a display."""

import csv
import subprocess
import sys

from napari_unet.imaging.reading import read_image


def test_the_demonstration_leaves_masks_table_and_screenshot(tmp_path):
    command = [sys.executable, "-m", "napari_unet.gui.demo", "--out", str(tmp_path), "--exit"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    count = int(done.stdout.split()[0])
    assert count > 50
    assert int(read_image(tmp_path / "fluorescence_masks.tif").array.max()) == count
    with (tmp_path / "fluorescence_objects.csv").open() as file:
        assert len(list(csv.DictReader(file))) == count
    assert (tmp_path / "screenshot.png").stat().st_size > 50_000


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("no folder")
    command = [sys.executable, "-m", "napari_unet.gui.demo", "--out", str(tmp_path / "file" / "out"), "--exit"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 1
    assert "cannot be made" in done.stderr
    assert "Traceback" not in done.stderr
