"""From ``results.json`` to the report, ``docs/results.md`` and the README's table.

No number is typed. The notebooks store what they measured with `update_results`; templates ask for it by name.
"""

from .pdf import build_pdf, figures_used, overfull_boxes, tex_errors
from .results import SECTIONS, ReportError, load_results, update_results
from .templates import render_template, write_markdown, write_report_source

__all__ = [
    "SECTIONS",
    "ReportError",
    "build_pdf",
    "figures_used",
    "load_results",
    "overfull_boxes",
    "render_template",
    "tex_errors",
    "update_results",
    "write_markdown",
    "write_report_source",
]
