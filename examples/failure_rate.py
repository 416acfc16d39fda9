"""
How often each routine fails, day by day (in UTC): a question to the views of analysts, and its plot.

    python examples/failure_rate.py postgresql://routines_analyst@localhost/routines > failure-rate.svg
"""

import sys
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from html import escape

import psycopg

BY_DAY = """
SELECT r.title, (run.triggered_at AT TIME ZONE 'UTC')::date AS day, count(*) AS runs,
       round(avg((run.status = 'failed')::int), 3) AS failure_rate
FROM analytics.runs run JOIN analytics.routines r ON r.id = run.routine_id
WHERE run.status IN ('completed', 'failed') GROUP BY r.id, r.title, day ORDER BY r.title, day"""
WIDTH, NAMES, ROW, MARGIN = 640, 200, 24, 28

Daily = tuple[str, date, int, Decimal | float]


def plot(days: Sequence[Daily]) -> str:
    """Return a picture in SVG: a row for each title, a column for each day, and in it the share of runs that failed."""
    titles, dates = sorted({title for title, *_ in days}), sorted({day for _, day, *_ in days})
    step, height = (WIDTH - NAMES) / max(len(dates), 1), ROW * len(titles) + 2 * MARGIN
    cells = []
    for title, day, runs, rate in days:
        x, y = NAMES + step * dates.index(day), MARGIN + ROW * titles.index(title)
        cells.append(
            f'<rect x="{x:.0f}" y="{y}" width="{max(step - 2, 1):.0f}" height="{ROW - 2}" fill="#b3261e" '
            f'fill-opacity="{rate:.2f}" stroke="#aaa"><title>{escape(title)}, {day}: {rate:.0%} of {runs} runs</title></rect>'
        )
        if rate and step >= ROW:
            cells.append(f'<text x="{x + 4:.0f}" y="{y + 15}" font-size="10">{rate:.0%}</text>')
    labels = [
        f'<text x="4" y="{MARGIN + ROW * place + 15}">{escape(title[:28])}</text>' for place, title in enumerate(titles)
    ]
    if dates:
        labels.append(f'<text x="{NAMES}" y="{height - 8}">{dates[0]}</text>')
        labels.append(f'<text x="{WIDTH - 2}" y="{height - 8}" text-anchor="end">{dates[-1]}</text>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
            "<title>Share of runs that failed, by routine and day in UTC</title>",
            *cells,
            *labels,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    with psycopg.connect(sys.argv[1]) as conn:
        sys.stdout.write(plot(conn.execute(BY_DAY).fetchall()))
