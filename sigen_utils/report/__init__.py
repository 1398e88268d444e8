"""From ``results.json`` to the report: macros, tables, the README's table and the PDF.

No number is typed into the report. The notebooks store what they measured with `update_results`; this package
rounds each value by one table (`FORMATS`) and writes it as a LaTeX macro ``\\val...`` or as a table cell. A value
that was never measured prints as ``--``, a score that does not apply as ``n/a``, so a partial run still typesets.
"""

from .formatting import COPIES, FORMATS, LABELS, MISSING, NOT_APPLICABLE, label, latex, models_of, plain
from .macros import NUMBERS, PHRASES, defined_macros, undefined_macros, unused_macros, used_macros, write_numbers
from .pdf import build_pdf, figures_used, overfull_boxes, tex_errors
from .readme import readme_table, studies_tables, update_readme
from .results import SECTIONS, ReportError, load_results, update_results
from .tables import TABLES, ablation_table, write_tables

__all__ = [
    "COPIES",
    "FORMATS",
    "LABELS",
    "MISSING",
    "NOT_APPLICABLE",
    "NUMBERS",
    "PHRASES",
    "SECTIONS",
    "TABLES",
    "ReportError",
    "ablation_table",
    "build_pdf",
    "defined_macros",
    "figures_used",
    "label",
    "latex",
    "load_results",
    "models_of",
    "overfull_boxes",
    "plain",
    "readme_table",
    "studies_tables",
    "tex_errors",
    "undefined_macros",
    "unused_macros",
    "update_readme",
    "update_results",
    "used_macros",
    "write_numbers",
    "write_tables",
]
