"""The report: needs metrics; makes one table and one page for all cells, and lists those that are missing."""


rule report:
    """Draw the table, the page and the figures from the metrics that exist or are requested in the same command."""
    input:
        metrics=report_metrics,
        asked=report_asked,
        distilled=report_distilled,
        checks=report_checks,
        matrix=report_matrix,
        viewers=report_viewers,
    output:
        table=report("results/report/table.csv", caption="../report/table.rst", category="Report"),
        markdown="results/report/report.md",
        html=report("results/report/report.html", category="Report"),
        figures=report(
            directory("results/report/figures"),
            patterns=["{name}.svg"],
            caption="../report/figure.rst",
            category="Report",
        ),
    log:
        "results/logs/report.log",
    localrule: True
    params:
        expected=cell_hashes,
        missing=missing_cells,
        study=config["study"],
        report_to=report_to,
        run_name=f"{config['study']}/report",
        margin=config["report"]["accuracy_margin"],
        price=config["report"]["price_per_hour"],
        links=report_links,
        code=code(
            "report.build.build",
            files=["templates/report.*", "templates/page.html.j2", "templates/words.j2", "report/published.json"],
            packages=DRAWING,
        ),
    script:
        "../scripts/report.py"
