"""Makes the chart's dashboard of the questions in `helm/questions.py` (`scripts/generate-chart` runs it)."""

from __future__ import annotations

import string
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)

from helm.questions import ROWS, Figure, Graph

PATH = Path(__file__).parent / "attribute-worker/dashboards/attribute-worker.json"
_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
_HERE = 'namespace=~"$namespace", job=~"$job"'
_WIDTH = 24


def document() -> str:
    """The dashboard as JSON."""
    made = (
        dashboard.Dashboard("Attribute worker")
        .uid("attribute-worker")
        .tags(["kafka", "attentive"])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Source").type("prometheus"))
        .with_variable(_choice("namespace", "label_values(attribute_worker_info, namespace)"))
        .with_variable(_choice("job", 'label_values(attribute_worker_info{namespace=~"$namespace"}, job)'))
    )
    for row in ROWS:
        made = made.with_row(dashboard.Row(row.question))
        for figure in row.figures:
            made = made.with_panel(_stat(figure, _WIDTH // len(row.figures)))
        for graph in row.graphs:
            made = made.with_panel(_timeseries(graph))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _choice(name: str, query: str) -> dashboard.QueryVariable:
    """A label of the scrape. `All` also finds workers that do not have it."""
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(_SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
    )


def _query(expression: str, legend: str, letter: str) -> prometheus.Dataquery:
    expression = expression.replace("{HERE}", f"{{{_HERE}}}").replace("[RATE]", "[$__rate_interval]")
    return prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(letter)


def _stat(figure: Figure, span: int) -> stat.Panel:
    colours = [("green", None), ("orange", figure.orange), ("red", figure.red)]
    steps = [Threshold(value=start, color=name) for name, start in colours if name == "green" or start is not None]
    return (
        stat.Panel()
        .title(figure.title)
        .description(figure.meaning)
        .datasource(_SOURCE)
        .unit(figure.unit)
        .span(span)
        .height(4)
        .color_mode(BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .with_target(_query(figure.expression, "", "A"))
    )


def _timeseries(graph: Graph) -> timeseries.Panel:
    mode = StackingMode.NORMAL if graph.stacked else StackingMode.NONE
    panel = (
        timeseries.Panel()
        .title(graph.title)
        .description(graph.meaning)
        .datasource(_SOURCE)
        .unit(graph.unit)
        .min(0)
        .span(_WIDTH // 2)
        .height(8)
        .fill_opacity(30 if graph.stacked else 0)
        .stacking(common.StackingConfig().mode(mode))
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    for letter, (legend, expression) in zip(string.ascii_uppercase, graph.lines.items(), strict=False):
        panel = panel.with_target(_query(expression, legend, letter))
    return panel


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(document(), encoding="utf-8")
