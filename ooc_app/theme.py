"""The look of the page: one table of colours for light and dark, and the Gradio theme made of it.

`assets/desk.css` uses these colours only by their custom property (`--desk-ink`), so a colour is
written down once, here. Text on any surface of its mode has a contrast of at least 4.5:1.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import gradio as gr

ASSETS: Final = Path(__file__).resolve().parent.parent / "assets"

SANS: Final = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
MONO: Final = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "monospace")

# name: (light, dark). The three verdict colours mark shapes; their `-text` partners are the same
# hue, darkened or lightened until words set in them reach 4.5:1 on every surface.
COLOURS: Final[dict[str, tuple[str, str]]] = {
    "paper": ("#fafaf7", "#15181c"),
    "raised": ("#ffffff", "#1b1f24"),
    "sunken": ("#f1f0eb", "#101317"),
    "ink": ("#1b1f24", "#e8e6df"),
    "soft": ("#5a6270", "#a2a9b4"),
    "hairline": ("#e3e1da", "#2b3036"),
    "control": ("#8a8f98", "#6b727c"),
    "accent": ("#1f5aa6", "#8ab8ee"),
    "on-accent": ("#ffffff", "#10151b"),
    "wash": ("#eaf0f8", "#1d2733"),
    "in-context": ("#009e73", "#009e73"),
    "in-context-text": ("#00694c", "#35c79b"),
    "out-of-context": ("#d55e00", "#d55e00"),
    "out-of-context-text": ("#a54500", "#f08a3c"),
    "unsure": ("#6b7a8f", "#6b7a8f"),
    "unsure-text": ("#536073", "#a7b3c4"),
    "mark": ("#ffe9a8", "#5a4a12"),
    "warning": ("#fbf1dc", "#2e2717"),
    "warning-text": ("#6d4c00", "#e6c170"),
}


def colour_properties() -> str:
    """Write the colours as CSS custom properties, light on the root, dark under Gradio's class."""
    light = "".join(f"--desk-{name}:{pair[0]};" for name, pair in COLOURS.items())
    dark = "".join(f"--desk-{name}:{pair[1]};" for name, pair in COLOURS.items())
    return f":root{{color-scheme:light;{light}}}\n.dark{{color-scheme:dark;{dark}}}\n"


def _both(setting: str, name: str) -> dict[str, str]:
    """Give one theme setting its light and its dark value."""
    return {setting: COLOURS[name][0], f"{setting}_dark": COLOURS[name][1]}


def _surfaces() -> dict[str, str]:
    return {
        **_both("body_background_fill", "paper"),
        **_both("body_text_color", "ink"),
        **_both("body_text_color_subdued", "soft"),
        **_both("background_fill_primary", "raised"),
        **_both("background_fill_secondary", "paper"),
        **_both("block_background_fill", "paper"),
        **_both("block_border_color", "hairline"),
        **_both("block_label_background_fill", "paper"),
        **_both("block_label_text_color", "soft"),
        **_both("block_title_text_color", "soft"),
        **_both("block_info_text_color", "soft"),
        **_both("border_color_primary", "hairline"),
        **_both("border_color_accent", "accent"),
        **_both("color_accent_soft", "wash"),
        **_both("link_text_color", "accent"),
        **_both("link_text_color_hover", "ink"),
        **_both("link_text_color_visited", "accent"),
        **_both("loader_color", "accent"),
        "block_shadow": "none",
        "block_border_width": "0px",
        "block_padding": "0px",
        "block_label_padding": "0 0 4px 0",
        "layout_gap": "16px",
        "body_text_size": "15px",
    }


def _controls() -> dict[str, str]:
    return {
        **_both("input_background_fill", "raised"),
        **_both("input_border_color", "control"),
        **_both("input_border_color_focus", "accent"),
        **_both("input_placeholder_color", "soft"),
        **_both("button_primary_background_fill", "accent"),
        **_both("button_primary_background_fill_hover", "accent"),
        **_both("button_primary_border_color", "accent"),
        **_both("button_primary_text_color", "on-accent"),
        **_both("button_secondary_background_fill", "raised"),
        **_both("button_secondary_background_fill_hover", "wash"),
        **_both("button_secondary_border_color", "control"),
        **_both("button_secondary_text_color", "ink"),
        "input_border_width": "1px",
        "input_padding": "6px 10px",
        "input_radius": "6px",
        "block_radius": "6px",
        "button_large_radius": "6px",
        "button_small_radius": "6px",
        "input_shadow": "none",
        "input_shadow_focus": "none",
        "button_border_width": "1px",
        "button_primary_shadow": "none",
        "button_secondary_shadow": "none",
        "button_large_text_size": "15px",
        "button_large_text_weight": "500",
        "button_large_padding": "7px 16px",
        "button_transform_hover": "none",
        "button_transform_active": "none",
    }


def desk_theme() -> "gr.themes.Base":
    """Build the Gradio theme: system fonts, hairlines instead of shadows, radius 6."""
    import gradio as gr

    theme = gr.themes.Base(
        font=SANS, font_mono=MONO, radius_size=gr.themes.sizes.radius_sm, text_size=gr.themes.sizes.text_md
    )
    return theme.set(**_surfaces(), **_controls())
