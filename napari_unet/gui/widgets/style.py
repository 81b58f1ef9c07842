"""Colours of the panel, taken from napari's theme."""

from __future__ import annotations

from napari.utils.theme import get_theme

_SHEET = """
QFrame#card {{ background: {foreground}; border: none; border-radius: 4px; }}
QFrame#card QLabel {{ background: transparent; }}
QLabel {{ padding: 0; margin: 0; }}
QLabel#heading {{ font-weight: 600; color: {text}; }}
QLabel#hint {{ color: {dim}; }}
QLabel#warning {{ color: {warning}; }}
QLabel#error {{ color: {error}; }}
QPushButton {{ padding: 5px 8px; }}
QPushButton[primary="true"] {{ background: {current}; color: {on_current}; font-weight: 600; }}
QPushButton[primary="true"]:hover {{ background: {highlight}; }}
QPushButton[primary="true"]:disabled {{ background: {foreground}; color: {dim}; font-weight: 400; }}
QPushButton#side:checked {{ background: {current}; color: {on_current}; font-weight: 600; }}
QPushButton#tab {{ background: transparent; border: none; border-bottom: 2px solid {primary};
  border-radius: 0; padding: 6px 3px; font-size: {small}pt; color: {dim}; }}
QPushButton#tab:hover {{ color: {text}; }}
QPushButton#tab:checked {{ color: {text}; border-bottom: 2px solid {tab}; }}
QTreeWidget#models {{ background: {foreground}; border: none; border-radius: 4px; padding: 4px; }}
QTreeWidget#models::item {{ padding: 2px 0; }}
QTreeWidget#models::item:selected {{ background: {current}; color: {on_current}; }}
QTableView#objects {{ background: {foreground}; alternate-background-color: {background}; border: none;
  border-radius: 4px; selection-background-color: {current}; selection-color: {on_current}; }}
QTableView#objects::item {{ padding: 0 4px; border: none; }}
QTableView#objects::item:selected {{ background: {current}; color: {on_current}; }}
QTableView#objects QHeaderView {{ background: {foreground}; border: none; }}
QTableView#objects QHeaderView::section {{ background: {foreground}; color: {dim}; border: none;
  border-bottom: 1px solid {primary}; padding: 3px 2px; font-size: {small}pt; }}
QToolButton#tool {{ background: {primary}; border: none; border-radius: 3px; padding: 4px 0 3px 0;
  font-size: {tiny}pt; color: {text}; }}
QToolButton#tool[beside="true"] {{ padding: 4px 5px; }}
QToolButton#tool:hover {{ background: {secondary}; }}
QToolButton#tool:checked {{ background: {current}; color: {on_current}; }}
QToolButton#tool:disabled {{ background: {foreground}; color: {faint}; }}
QPushButton:disabled {{ color: {faint}; }}
QPushButton#quiet {{ background: transparent; border: none; border-radius: 3px; padding: 3px 6px; color: {text}; }}
QPushButton#quiet:hover {{ background: {primary}; }}
QToolButton#fold {{ background: transparent; border: none; padding: 2px 0; color: {dim}; }}
QToolButton#fold:hover {{ color: {text}; }}
QPushButton#answer {{ background: {background}; border: 1px solid {primary}; border-radius: 4px; padding: 0;
  text-align: left; }}
QPushButton#answer:hover {{ border: 1px solid {tab}; }}
QPushButton#answer:disabled {{ border: 1px solid {foreground}; }}
QPushButton#answer QLabel {{ background: transparent; }}
QFrame#strip {{ background: {foreground}; border: none; }}
QFrame#strip QLabel {{ background: transparent; }}
QProgressBar {{ min-height: 6px; max-height: 6px; border: none; border-radius: 3px;
  background: {primary}; }}
QProgressBar::chunk {{ background: {tab}; border-radius: 3px; }}
"""


def sheet(theme_name: str) -> str:
    """Return the style sheet of a panel for one of napari's themes."""
    theme = get_theme(theme_name).to_rgb_dict()
    dark = _brightness(theme["background"]) < 0.5
    return _SHEET.format(
        **theme
        | {
            "dim": "rgb(160, 165, 175)" if dark else "rgb(95, 95, 95)",
            "on_current": "white" if _brightness(theme["current"]) < 0.5 else theme["text"],
            "tab": theme["current"],
            "faint": "rgb(126, 131, 141)" if dark else "rgb(125, 125, 125)",
            "small": 9,
            "tiny": 8,
            "warning": "rgb(230, 170, 70)" if dark else "rgb(150, 90, 0)",
            "error": "rgb(255, 120, 110)" if dark else "rgb(180, 30, 20)",
        }
    )


def icon_colours(theme_name: str) -> tuple[str, str, str]:
    """Return the colours of pictures on buttons: as they are, chosen, and disabled."""
    theme = get_theme(theme_name).to_rgb_dict()
    on_current = "#ffffff" if _brightness(theme["current"]) < 0.5 else _hex(theme["text"])
    return (_hex(theme["text"]), on_current, "#7e838d" if _brightness(theme["background"]) < 0.5 else "#7d7d7d")


def plot_colours(theme_name: str) -> tuple[str, str, str, str]:
    """Return background, axes, loss and score colours for the plot."""
    background = get_theme(theme_name).to_rgb_dict()["background"]
    if _brightness(background) < 0.5:
        return (_hex(background), "#a0a5af", "#7aa2f7", "#e0af68")
    return (_hex(background), "#5f5f5f", "#1f5fbf", "#b06000")


def _hex(colour: str) -> str:
    return "#" + "".join(f"{int(part):02x}" for part in colour.strip("rgb() ").split(","))


def _brightness(colour: str) -> float:
    """Brightness from 0 to 1 of a colour such as "rgb(38, 41, 48)"."""
    red, green, blue = (int(part) for part in colour.strip("rgb() ").split(","))
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255
