"""
Lateness by hour of the day: a question to the views of analysts, and its plot.

    python examples/lateness.py postgresql://routines_analyst@localhost/routines > lateness-by-hour.svg
"""

import sys
from collections.abc import Sequence

import psycopg

BY_HOUR = """
SELECT extract(hour FROM due_at AT TIME ZONE 'UTC')::int AS hour,
       round(percentile_cont(0.95) WITHIN GROUP (ORDER BY lateness_s)::numeric, 3)::float8 AS p95_s
FROM analytics.occurrences WHERE lateness_s IS NOT NULL GROUP BY hour ORDER BY hour"""
WIDTH, HEIGHT, MARGIN = 640, 200, 40


def plot(hours: Sequence[tuple[int, float]]) -> str:
    """Return the lateness of each hour as a picture in SVG, one bar for each."""
    most = max((late_s for _, late_s in hours), default=0) or 1
    step = (WIDTH - 2 * MARGIN) / 24
    bars = []
    for hour, late_s in hours:
        x, height = MARGIN + step * hour, (HEIGHT - 2 * MARGIN) * late_s / most
        bars.append(
            f'<rect x="{x + 1:.0f}" y="{HEIGHT - MARGIN - height:.0f}" width="{step - 2:.0f}" height="{height:.0f}" '
            f'fill="#0b62a3"><title>{hour} h: {late_s:.2f} s</title></rect>'
        )
    labels = [f'<text x="{MARGIN + step * hour:.0f}" y="{HEIGHT - 20}">{hour}</text>' for hour in range(0, 24, 6)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
            "<title>Lateness (95th percentile) by the hour of the day in UTC</title>",
            f'<path d="M{MARGIN} {HEIGHT - MARGIN}H{WIDTH - MARGIN}" fill="none" stroke="#555"/>',
            f'<text x="4" y="{MARGIN}">{most:.1f} s</text>',
            *bars,
            *labels,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    with psycopg.connect(sys.argv[1]) as conn:
        sys.stdout.write(plot(conn.execute(BY_HOUR).fetchall()))
