import pytest

from application.use_cases import named_secrets
from domain.disclosure import MASK
from domain.errors import InvalidField
from domain.events import CompanyEnvironmentChanged


def keep(app, **values):
    """A company's environment, in the log and in the vault."""

    def change(work):
        sealed = named_secrets.seal(work, app.company, "environment", values, app.company)
        work.record(app.company, [CompanyEnvironmentChanged(environment=sealed)])
        return sealed

    return app.carry_out(change)


def test_secrets_are_one_record_and_their_names_may_be_shown(app):
    sealed = keep(app, a="1", b="2")

    assert ("a", "b") == sealed.names
    assert {"a": "1", "b": "2"} == app.executor.query(lambda work: named_secrets.open_secrets(work, sealed))
    assert 1 == len(app.vault.secrets)


def test_no_secrets_are_no_record(app):
    assert keep(app) is None
    assert {} == app.executor.query(lambda work: named_secrets.open_secrets(work, None))


def test_secrets_that_were_dropped_are_lost(app):
    sealed = keep(app, a="1")
    app.vault.secrets.clear()

    with pytest.raises(named_secrets.SecretsLost):
        app.executor.query(lambda work: named_secrets.open_secrets(work, sealed))


def test_the_mask_stands_for_the_value_that_there_is(app):
    old = keep(app, a="1", b="2")

    values = app.executor.query(lambda work: named_secrets.unmask(work, {"a": MASK, "c": "3"}, old, "secrets"))

    assert {"a": "1", "c": "3"} == values


def test_a_mask_of_a_name_without_a_value_is_refused(app):
    for old in (None, keep(app, a="1")):
        with pytest.raises(InvalidField, match=r"secrets\.d: there is no value that could stay"):
            app.executor.query(lambda work, old=old: named_secrets.unmask(work, {"d": MASK}, old, "secrets"))


def test_without_a_mask_the_vault_is_not_opened(app):
    old = keep(app, a="1")
    app.vault.secrets.clear()

    assert {"a": "2"} == app.executor.query(lambda work: named_secrets.unmask(work, {"a": "2"}, old, "secrets"))
