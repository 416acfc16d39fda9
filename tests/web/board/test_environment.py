"""The environment of a routine in its form: no value is ever in a page, and none is lost by saving."""

import pytest

SECRET = "hunter2-hunter2"


@pytest.fixture
def routine(board, api, company, agent):
    """A routine with a value of its own and a variable of the company."""
    variables = {"environment_variables": {"TOKEN": SECRET, "OTHER": "x"}}
    api.patch(f"/v1/collections/{company}/environment", variables)
    env = {"OWN": {"type": "plain", "value": SECRET}, "SHARED": {"type": "secret_ref", "name": "TOKEN"}}
    return api.routine(company, agent, env=env)


def env_of(api, routine):
    return {
        name: one.get("name", one.get("value")) for name, one in (api.get(f"/routines/{routine}")["env"] or {}).items()
    }


def test_variables_are_added_bound_renamed_to_others_and_removed_in_the_form(board, api, routine):
    form = board.show(f"/routines/{routine}/edit")
    assert SECRET not in form.html

    added = {"env.2.name": "THIRD", "env.2.type": "plain", "env.2.value": SECRET, "env.1.variable": "OTHER"}
    page = board.send(form, "/edit", **added)
    assert "The changes are saved." in page.text
    assert {"OWN": "***", "SHARED": "OTHER", "THIRD": "***"} == env_of(api, routine)

    page = board.send(board.show(f"/routines/{routine}/edit"), "/edit", **{"env.0.name": "", "env.1.name": ""})
    assert {"THIRD": "***"} == env_of(api, routine)
    assert SECRET not in page.html + board.show(f"/routines/{routine}/edit").html


def test_saving_without_a_change_keeps_the_environment_and_makes_no_revision(board, api, routine):
    before = api.get(f"/routines/{routine}")
    page = board.send(board.show(f"/routines/{routine}/edit"), "/edit")
    assert "Nothing was changed." in page.text
    assert before == api.get(f"/routines/{routine}")


@pytest.mark.parametrize(
    ("wrong", "field", "sentence"),
    [
        ({"env.2.name": "9", "env.2.value": SECRET}, "env.2.name", "beginning with no digit"),
        ({"env.2.name": "NEW"}, "env.2.value", "Write its value."),
        ({"env.2.name": "OWN", "env.2.value": SECRET}, "env.2.name", "Another row has this name."),
        ({"env.2.name": "", "env.2.value": SECRET}, "env.2.name", "This has to be filled in."),
        ({"env.2.name": "NEW", "env.2.type": "secret_ref"}, "env.2.variable", "Choose a variable."),
        ({"env.2.name": "NEW", "env.2.type": "secret_ref", "env.2.variable": "GONE"}, "env.2.variable", "no variable"),
        ({"env.1.type": "plain"}, "env.1.name", "no value that could stay"),
        ({"title": " ", "env.2.name": "NEW", "env.2.value": SECRET}, "title", "Type it again"),
    ],
)
def test_what_is_wrong_with_a_variable_stands_beside_it_and_nothing_but_its_value_is_kept(  # noqa: PLR0917
    board, api, routine, wrong, field, sentence
):
    before = env_of(api, routine)
    page = board.send(board.show(f"/routines/{routine}/edit"), "/edit", **wrong)

    assert (4, True) == (page.status // 100, sentence in page.text)
    assert field is None or f'id="{field}-error"' in page.html
    fields = page.form("/edit")["fields"]
    shown = {name: text for name, text in wrong.items() if not name.endswith(".value")}
    assert shown == {name: fields[name] for name in shown}
    assert SECRET not in page.html
    assert before == env_of(api, routine)


def test_a_value_that_was_typed_when_somebody_else_saved_has_to_be_typed_again(board, api, routine):
    mine = board.show(f"/routines/{routine}/edit")
    api.patch(f"/routines/{routine}", {"title": "Theirs"})
    page = board.send(mine, "/edit", **{"env.2.name": "NEW", "env.2.value": SECRET})
    assert 409 == page.status
    assert "Type it again" in page.text
    assert SECRET not in page.html
