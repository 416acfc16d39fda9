import pytest

from application.access import Caller
from application.use_cases import log_proofs
from domain.errors import Forbidden, Unauthenticated


def test_the_proofs_of_the_whole_log_are_for_admins_and_auditors_of_the_instance(here):
    here.ask(log_proofs.may_prove_whole_log)
    here.ask(log_proofs.may_prove_whole_log, caller=here.auditor())

    with pytest.raises(Forbidden, match="Instance admin or auditor required"):
        here.ask(log_proofs.may_prove_whole_log, caller=here.member("owner"))
    for caller in (here.as_agent(), Caller(token=None)):
        with pytest.raises((Forbidden, Unauthenticated)):
            here.ask(log_proofs.may_prove_whole_log, caller=caller)


def test_the_proofs_of_a_companys_log_are_for_its_members(here):
    for caller in (here.admin, here.auditor(), here.member("auditor"), here.member("viewer")):
        here.ask(log_proofs.may_prove_log_of, here.company, caller=caller)

    for caller in (here.member("owner", here.other_company()), here.as_agent()):
        with pytest.raises(Forbidden):
            here.ask(log_proofs.may_prove_log_of, here.company, caller=caller)
