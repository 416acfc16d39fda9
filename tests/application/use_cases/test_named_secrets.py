import pytest

from application.use_cases import named_secrets
from domain.disclosure import MASK
from domain.events import CompanyEnvironmentChanged


def keep(here, **values):
    """A company's environment, in the log and in the vault."""

    def change(work):
        sealed = named_secrets.seal(work, here.company, "environment", values, here.company)
        work.record(here.company, [CompanyEnvironmentChanged(environment=sealed)])
        return sealed

    return here.carry_out(change)


def test_secrets_are_one_record_and_their_names_may_be_shown(here):
    sealed = keep(here, a="1", b="2")

    assert ("a", "b") == sealed.names
    assert {"a": "1", "b": "2"} == here.executor.query(lambda work: named_secrets.opened(work, sealed))
    assert 1 == len(here.vault.secrets)


def test_no_secrets_are_no_record(here):
    assert keep(here) is None
    assert {} == here.executor.query(lambda work: named_secrets.opened(work, None))


def test_secrets_that_were_dropped_are_lost(here):
    sealed = keep(here, a="1")
    here.vault.secrets.clear()

    with pytest.raises(named_secrets.Lost):
        here.executor.query(lambda work: named_secrets.opened(work, sealed))


def test_the_mask_stands_for_the_value_that_there_is_and_for_none_the_name_is_left_out(here):
    old = keep(here, a="1", b="2")

    values = here.executor.query(lambda work: named_secrets.unmasked(work, {"a": MASK, "c": "3", "d": MASK}, old))

    assert {"a": "1", "c": "3"} == values


def test_without_a_mask_the_vault_is_not_opened(here):
    old = keep(here, a="1")
    here.vault.secrets.clear()

    assert {"a": "2"} == here.executor.query(lambda work: named_secrets.unmasked(work, {"a": "2"}, old))
