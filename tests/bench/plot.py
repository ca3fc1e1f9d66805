"""Figures for the documents, as SVG: small, the same bytes for the same numbers, without a background and in
colours that can be read on a light and on a dark page. Needs Debian's python3-matplotlib (packages.txt beside).

A number is a list of what each round measured: the figure shows the median, and a whisker from the least to
the most. A single value may stand for such a list."""

import pathlib
import statistics

INK = "#7d8590"  # on white and on #0d1117 alike: 3.8 and 5.0 to 1
COLOURS = {"ours": "#2f81f7", "peer": "#d9822b", "floor": "#8b949e"}
SERIES = ["#2f81f7", "#d9822b", "#2da44e", "#bf5af2", "#cf4b57", "#8b949e"]
MARKERS = "osD^vP"
SETTINGS = {
    "svg.hashsalt": "handoff", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10,
    "axes.titlesize": 11, "axes.spines.top": False, "axes.spines.right": False,
    **{name: INK for name in ("text.color", "axes.labelcolor", "axes.edgecolor", "axes.titlecolor",
                              "xtick.color", "ytick.color", "grid.color")},
}


def _pyplot():
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("error: python3-matplotlib is not installed; compose/local/install tests/bench/packages.txt "
                         "installs it") from None
    matplotlib.use("svg")
    from matplotlib import pyplot
    return pyplot


def _spread(numbers):
    """(median, down to the least, up to the most)"""
    numbers = numbers if isinstance(numbers, (list, tuple)) else [numbers]
    median = statistics.median(numbers)
    return median, median - min(numbers), max(numbers) - median


def _shown(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}" if value >= 10 else f"{value:,.2f}"


def _save(pyplot, figure, path):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", transparent=True, bbox_inches="tight",
                   metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


def bars(path, title, unit, rows):
    """Horizontal bars, the first row at the top. rows: [(label, numbers)] or [(label, numbers, kind)], where
    kind is one of COLOURS. Nothing is written without rows."""
    if not rows:
        return
    pyplot = _pyplot()
    with pyplot.rc_context(SETTINGS):
        figure, axes = pyplot.subplots(figsize=(7.2, 0.7 + 0.36 * len(rows)))
        spreads = [_spread(row[1]) for row in rows]
        colours = [COLOURS[row[2] if len(row) > 2 else "ours"] for row in rows]
        places = range(len(rows))
        axes.barh(places, [s[0] for s in spreads], color=colours, height=0.62,
                  xerr=[[s[1] for s in spreads], [s[2] for s in spreads]],
                  error_kw={"ecolor": INK, "elinewidth": 1.2, "capsize": 3})
        for place, (median, _, up) in zip(places, spreads):
            axes.annotate(_shown(median), (median + up, place), xytext=(6, 0), textcoords="offset points",
                          va="center")
        axes.set_yticks(list(places), [row[0] for row in rows])
        axes.invert_yaxis()
        axes.set_xlim(0, max(m + up for m, _, up in spreads) * 1.15 or 1)
        axes.set_title(title, loc="left")
        axes.set_xlabel(unit)
        _save(pyplot, figure, path)


def lines(path, title, xlabel, ylabel, series, logx=False, logy=False):
    """series: [(label, [(x, numbers), …])], a line each, in the order of SERIES' colours."""
    series = [(label, points) for label, points in series if points]
    if not series:
        return
    pyplot = _pyplot()
    with pyplot.rc_context(SETTINGS):
        figure, axes = pyplot.subplots(figsize=(7.2, 3.6))
        for n, (label, points) in enumerate(series):
            spreads = [_spread(numbers) for _, numbers in points]
            axes.errorbar([x for x, _ in points], [s[0] for s in spreads],
                          yerr=[[s[1] for s in spreads], [s[2] for s in spreads]], label=label,
                          color=SERIES[n % len(SERIES)], marker=MARKERS[n % len(MARKERS)], markersize=4.5,
                          linewidth=1.6, elinewidth=1, capsize=3)
        if logx:
            axes.set_xscale("log")
        if logy:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        xs = sorted({x for _, points in series for x, _ in points})
        if len(xs) <= 12:
            axes.set_xticks(xs, [f"{x:,g}" for x in xs])
            axes.minorticks_off()
        axes.grid(True, axis="y", alpha=0.25, linewidth=0.6)
        axes.set_title(title, loc="left")
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        if len(series) > 1:
            axes.legend(frameon=False)
        _save(pyplot, figure, path)
