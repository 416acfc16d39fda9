"""Steps that need no worker: `text_echo` gives back a text (Jetty's skill `text_echo`)."""

from typing import Any

from domain.bounds.json_size import depth_of, size_of
from domain.bounds.limits import DEFAULT, Limits
from domain.errors import RuleViolation
from domain.events import TrajectoryEvent, TrajectoryMoved, TrajectoryStepReported
from domain.jetty import task, trajectory
from domain.values import Json

TEXT_ECHO = "text_echo"
TEMPLATES: tuple[dict[str, Any], ...] = (
    {
        "activity_name": TEXT_ECHO,
        "description": "Gives back a text: `text` as it is, or what stands at `text_path`, as `init_params.text`.",
        "parameters": {"text": {"type": "string"}, "text_path": {"type": "string"}},
        "outputs": {"text": {"type": "string"}},
    },
)


class _Missing(Exception):
    """The path of a step's `text_path` leads to nothing."""


def runs_by_itself(workflow: Json) -> bool:
    """Return whether all steps of a workflow are built in; a workflow without steps is left to a worker."""
    steps, configs = task.steps_of(workflow), task.configs_of(workflow)
    return bool(steps) and all(configs.get(step, {}).get("activity") == TEXT_ECHO for step in steps)


def carried_out(workflow: Json, init_params: Json, limits: Limits = DEFAULT) -> list[TrajectoryEvent]:
    """
    Return the events of a trajectory whose steps are all built in: each step, and the end.

    The trajectory fails before it outgrows its limits.
    """
    values: dict[str, Any] = {"init_params": init_params}
    events: list[TrajectoryEvent] = []
    parts = {"call": size_of(workflow, init_params)}
    for step in task.steps_of(workflow):
        config = task.configs_of(workflow)[step]
        inputs = {name: value for name, value in config.items() if name != "activity"}
        try:
            outputs = {"text": _read_text(config, values)}
            event = TrajectoryStepReported(step=step, status="completed", inputs=inputs, outputs=outputs)
            parts = trajectory.parts_after(parts, event)
            trajectory.must_fit(parts, limits)
            _must_be_shallow(outputs, limits.max_output_depth)
        except (_Missing, RuleViolation) as failure:
            if isinstance(failure, _Missing):
                events.append(TrajectoryStepReported(step=step, status="failed", inputs=inputs))
            return [*events, TrajectoryMoved(status="failed", error=f"Step '{step}' failed: {failure}")]
        values[step] = {"outputs": outputs}
        events.append(event)
    return [*events, TrajectoryMoved(status="completed")]


def _must_be_shallow(outputs: Json, most: int) -> None:
    """
    Raise RuleViolation for outputs that are nested too deep.

    A step can give back the outputs of another, so small inputs could become as deep as they like.
    """
    if depth_of(outputs) > most:
        raise RuleViolation(f"what it gives is nested deeper than {most} levels")


def _read_text(config: dict[str, Any], values: dict[str, Any]) -> object:
    if "text_path" not in config:
        return config.get("text", "")
    value: Any = values
    for part in str(config["text_path"]).split("."):
        if not isinstance(value, dict) or part not in value:
            raise _Missing(f"there is nothing at text_path '{config['text_path']}'")
        value = value[part]
    return value
