"""An experiment's findings as one self-contained HTML page."""

from __future__ import annotations

from llm4teach.analysis.comparisons import table
from llm4teach.analysis.comparisons.figure import page_figures
from llm4teach.analysis.comparisons.results import Findings
from llm4teach.analysis.reports.run_report import page_environment
from llm4teach.datasets.storage.parquet import replacing
from llm4teach.datasets.storage.paths import StoragePath


def write_findings_page(findings: Findings, path: StoragePath) -> None:
    """Write the page: question, figures and tables by task, and how to make them again."""
    chapters = [
        {
            "task": comparison.task,
            "figures": page_figures(findings, comparison),
            "tables": [
                rows
                for rows in (
                    table.comparison_rows(comparison),
                    table.shifted_rows(comparison),
                    table.share_rows(comparison),
                )
                if rows
            ],
            "notes": [
                table.notes(comparison),
                *([table.share_notes(comparison)] if table.share_rows(comparison) else []),
            ],
        }
        for comparison in findings.comparisons
    ]
    page = (
        page_environment()
        .get_template("comparison.html")
        .render(findings=findings, chapters=chapters, overall=table.overall(findings))
    )
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
