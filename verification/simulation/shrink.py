"""The shortest story of a failure: the same seed in a smaller world, and only what concerns the routine."""

from collections.abc import Iterator

from verification.simulation.shape import STORE, Shape, StoryLine
from verification.simulation.world import World

SMALLER = (2, 5, 10, 25, 50)  # routines
SHORTER = (10, 30, 90, 180)  # days
MOST = 60  # lines


def explain_failure(shape: Shape) -> Iterator[str]:
    """Return the violations in the smallest world of the seed that still fails, and what led to the first of them."""
    failing_shape = find_smallest_failing(shape)
    outcome = World(failing_shape, keeps_story=True).run()
    first = outcome.violations[0]
    yield f"\nSeed {failing_shape.seed} fails with {failing_shape.routines} routines in {failing_shape.days} days, under {_name_faults(failing_shape)}:"
    yield from (f"  {one.kind}: {one.text} (routine {one.routine_id})" for one in outcome.violations[:10])
    yield "\nWhat happened (* is outside the log; lines of other routines are left out):"
    story = [line for line in outcome.story if line.position is None or line.position <= first.position]
    own_lines = [line for line in story if line.routine_id in (first.routine_id, None) and not _is_setup(line)]
    yield from (f"  {line.position or '':>7} {line.text}" for line in own_lines[-MOST:])


def find_smallest_failing(shape: Shape) -> Shape:
    """Return a shape that still fails, with as few routines, days and kinds of trouble as possible."""
    for days in SHORTER:
        shape = _if_it_fails(shape, shape._replace(days=min(days, shape.days)))
    for routines in SMALLER:
        shape = _if_it_fails(shape, shape._replace(routines=min(routines, shape.routines)))
    shape = _if_it_fails(shape, shape._replace(clock_steps=False))
    shape = _if_it_fails(shape, shape._replace(outages=False))
    shape = _if_it_fails(shape, shape._replace(people=False))
    for kind in sorted(STORE):
        shape = _if_it_fails(shape, shape._replace(kinds=shape.kinds - {kind}))
    return shape


def _if_it_fails(shape: Shape, smaller: Shape) -> Shape:
    is_larger = smaller.days > shape.days or smaller.routines > shape.routines or smaller == shape
    return shape if is_larger or not World(smaller).run().violations else smaller


def _is_setup(line: StoryLine) -> bool:
    """Return whether it belongs to no routine and is of no interest: the company, its people."""
    return line.position is not None and line.routine_id is None


def _name_faults(shape: Shape) -> str:
    switches = {"outages": shape.outages, "clock steps": shape.clock_steps, "people": shape.people}
    return ", ".join([*(name for name, is_on in switches.items() if is_on), *sorted(shape.kinds)]) or "no fault"
