"""The report: needs metrics; gives one table and one page for all cells, and says which are missing."""


rule report:
    """Draw the table, the page and the figures from the metrics that exist or are asked for in the same command."""
    input:
        metrics=report_metrics,
    output:
        table="results/report/table.csv",
        markdown="results/report/report.md",
        html="results/report/report.html",
        figures=directory("results/report/figures"),
    log:
        "results/logs/report.log",
    params:
        expected=CELLS,
        study=config["study"],
        code=code("report", files=["templates/*", "published.json"]),
    script:
        "../scripts/report.py"
