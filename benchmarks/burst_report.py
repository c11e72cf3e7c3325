"""The tables and the plot, from the figures of a run."""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from benchmarks import costs, page
from benchmarks.virtual_stack import IMAGE_DROP

Figures = dict[str, Any]
COLOURS = ("#c44e52", "#e7a977", "#dd8452", "#55a868", "#b9a5d6", "#8172b3", "#8c8c8c")  # of others


def line(run: Figures) -> str:
    """Return a run in one line, for the terminal."""
    return (
        f"{run['policy']}, {run['photos']:,} photos, {run['window']} windows: "
        f"{run['done']:,} done, {run['dead_lettered']:,} dead-lettered, "
        f"{run['refused']:,} refused, {run['lock_outs']} lock-outs, "
        f"{run['paid_twice']} paid twice, {ratio(run)} of the bound, "
        f"${run['aws_dollars_per_1000']:.3f} for 1,000 ({run['took']:.0f} s of CPU)"
    )


def real_line(run: Figures) -> str:
    """Return the real run in one line."""
    return (
        f"for real, {run['photos']:,} photos, {run['limit']} calls a minute: {run['done']:,} done, "
        f"{run['dead_lettered']} dead-lettered, {run['refused']} refused, "
        f"{run['lock_outs']} lock-outs, {run['paid_twice']} paid twice, "
        f"{run['seconds'] / run['bound']:.3f} of the bound ({run['seconds']:.0f} s)"
    )


def ratio(run: Figures) -> str:
    """Return the time as a part of the bound, or a dash if not everything is done."""
    return f"{run['seconds'] / run['bound']:.3f}" if run["done"] == run["photos"] else "–"


def write(plot: Path, virtual: Sequence[Figures], real: Sequence[Figures]) -> None:
    """Put the tables into the page, and draw the plot."""
    page.put("burst", "\n\n".join([*_virtual(virtual), *chain(*map(_real, real))]))
    draw(plot, virtual)


def _virtual(runs: Sequence[Figures]) -> Iterable[str]:
    bursts = [run for run in runs if not run["outage"]]
    ours = [run for run in bursts if run["policy"] == IMAGE_DROP.name and run["photos"] > 10]
    beside = min(run["photos"] for run in ours)
    yield "### Image Drop"
    yield _table(sorted(ours, key=lambda run: run["photos"]))
    yield f"### Compared with what people deploy today: {beside:,} photos"
    yield _table([run for run in bursts if run["photos"] == beside])
    yield "![Photos done over time](results/burst.svg)"
    yield "### A drop of 10 into an idle system"
    yield _small(next(run for run in bursts if run["photos"] == 10))
    yield "### The account is unavailable for half an hour"
    yield _outages([run for run in runs if run["outage"]])
    yield "### What AWS costs"
    yield _bill(next(run for run in ours if run["photos"] == 10_000))


def _table(runs: Iterable[Figures]) -> str:
    head = (
        "policy", "photos", "windows", "done", "dead letters", "calls refused", "lock-outs",
        "paid twice", "time", "of the bound", "GB-s an image", "AWS, 1,000 images",
    )  # fmt: skip
    return _rows(
        head,
        (
            (
                run["policy"],
                f"{run['photos']:,}",
                run["window"],
                f"{run['done']:,}",
                f"{run['dead_lettered']:,}",
                f"{run['refused']:,}",
                run["lock_outs"],
                run["paid_twice"],
                _duration(run["seconds"]),
                ratio(run),
                f"{run['metered']['Lambda GB-second'] / run['photos']:.1f}",
                f"${run['aws_dollars_per_1000']:.2f}",
            )
            for run in runs
        ),
    )


def _small(run: Figures) -> str:
    return (
        f"{run['calls']} calls, the first {run['first_call']:.1f} s and the last "
        f"{run['last_call']:.1f} s after the drop: S3's event, a cold start for each, and the "
        f"request to Venice. {run['queued']} photos went through the queue."
    )


def _outages(runs: Sequence[Figures]) -> str:
    first = runs[0]
    start, end = first["outage"]
    head = (
        "the account's page says", "calls during it", "done", "dead letters", "paid twice",
        "pauses", "first result after it", "all done", "of the bound + outage",
    )  # fmt: skip
    rows = (
        (
            "no access" if run["outage_shows"] else "all is well (a key's own limit is spent)",
            run["calls_in_outage"],
            f"{run['done']:,}",
            run["dead_lettered"],
            run["paid_twice"],
            run["pauses"],
            _duration(run["first_done_after_outage"]),
            _duration(run["seconds"]),
            ratio(run),
        )
        for run in runs
    )
    return (
        f"{first['photos']:,} photos; from {_duration(start)} to {_duration(end)} after the drop "
        "Venice answers every call with 402.\n\n" + _rows(head, rows)
    )


def _bill(run: Figures) -> str:
    lines = [costs.Line(**line) for line in run["bill_per_1000"]]
    aws = costs.total(lines)
    egress = 1000 * costs.PHOTO_GIGABYTES * costs.EGRESS
    rows = [
        (each.title, f"{each.units:,.0f}", each.price, f"${each.dollars:.4f}") for each in lines
    ]
    rows.append(("**AWS**", "", "", f"**${aws:.4f}**"))
    rows.append(
        (
            f"data to Venice, {costs.PHOTO_GIGABYTES * 1000:g} MB a photo (GB)",
            f"{1000 * costs.PHOTO_GIGABYTES:g}",
            f"${costs.EGRESS:g} each, 100 a month free",
            f"${egress:.4f}",
        )
    )
    shares = "; ".join(
        f"{aws / (1000 * price):.2%} of the ${1000 * price:.0f} that 1,000 {what} cost at Venice "
        f"({(aws + egress) / (1000 * price):.2%} with the data)"
        for what, price in (("edits", costs.VENICE_EDIT), ("removals", costs.VENICE_REMOVAL))
    )
    return (
        f"For 1,000 of {run['photos']:,} photos, as metered; us-east-1, no free tier.\n\n"
        + _rows(("what", "units", "price", "dollars"), rows)
        + f"\n\nThat is {shares}."
    )


def _real(real: Figures) -> Iterable[str]:
    yield "### For real, on the embedded stack"
    yield (
        f"{real['photos']:,} photos at once, {real['limit']} calls a minute in {real['window']} "
        f"windows, {real['edit']:g} s an edit; {real['machine']}. The bound is the limit as a "
        f"steady rate, {real['bound']:.0f} s: one machine cannot start {real['limit']} edits at "
        "the same moment, as Lambda can."
    )
    head = (
        "done", "reports", "dead letters", "calls", "refused", "lock-outs", "paid twice",
        "most in 60 s", "time", "of the bound",
    )  # fmt: skip
    yield _rows(
        head,
        [
            (
                f"{real['done']:,}",
                real["reports"],
                real["dead_lettered"],
                f"{real['calls']:,}",
                real["refused"],
                real["lock_outs"],
                real["paid_twice"],
                real["most_in_a_minute"],
                f"{real['seconds']:.0f} s",
                f"{real['seconds'] / real['bound']:.3f}",
            )
        ],
    )

    first = real["first"]
    yield (
        f"{first['photos']} photos dropped into a stack that has just started: the first result "
        f"after {first['first']:.1f} s, the last one after {first['seconds']:.1f} s."
    )


def _rows(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return page.table(head, [[str(cell) for cell in row] for row in rows])


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes = round(seconds / 60)
    if minutes < 10:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def draw(path: Path, runs: Sequence[Figures]) -> None:
    """Draw the photos done over time: ours, the others, and the bound."""
    import matplotlib as mpl  # of the group `bench`, which the tests do without
    from matplotlib.figure import Figure

    ours = [run for run in runs if run["policy"] == IMAGE_DROP.name and run["window"] == "fixed"]
    shown = min(run["photos"] for run in ours if run["photos"] > 10 and not run["outage"])
    same = [run for run in runs if run["photos"] == shown and run["window"] == "fixed"]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    others = iter(COLOURS)
    for run in same:
        is_ours = run["policy"] == IMAGE_DROP.name
        hours, done = zip(*((0.0, 0), *run["curve"]), strict=True)
        axes.step(
            [second / 3600 for second in hours],
            done,
            where="post",
            color="#2a6f97" if is_ours else next(others),
            linewidth=2.5 if is_ours else 1.3,
            marker="o",
            markevery=[-1],
            zorder=2 if is_ours else 3,
            label=f"{run['policy']}: {run['done']:,} done, {run['refused']:,} refused",
        )
    bound = same[0]["bound"] / 3600
    axes.axvline(bound, color="black", linewidth=0.8, linestyle=":", label="the bound")
    axes.set(
        title=f"{shown:,} photos dropped at once, 20 edits a minute (virtual time)",
        xlabel="hours after the drop",
        ylabel="photos done",
        xlim=(0, None),
        ylim=(0, shown * 1.03),
    )
    axes.legend(fontsize=8, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    # The same figures make the same file.
    with mpl.rc_context({"svg.hashsalt": "image-drop", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})
