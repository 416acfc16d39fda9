import pytest

from application.access import Caller
from application.use_cases import log_proofs
from domain.errors import Forbidden, Unauthenticated


def test_the_proofs_of_the_whole_log_are_for_admins_and_auditors_of_the_instance(app):
    app.ask(log_proofs.may_prove_whole_log)
    app.ask(log_proofs.may_prove_whole_log, caller=app.auditor())

    with pytest.raises(Forbidden, match="Instance admin or auditor required"):
        app.ask(log_proofs.may_prove_whole_log, caller=app.member("owner"))
    for caller in (app.as_agent(), Caller(token=None)):
        with pytest.raises((Forbidden, Unauthenticated)):
            app.ask(log_proofs.may_prove_whole_log, caller=caller)


def test_the_proofs_of_a_companys_log_are_for_its_members(app):
    for caller in (app.admin, app.auditor(), app.member("auditor"), app.member("viewer")):
        app.ask(log_proofs.may_prove_log_of, app.company, caller=caller)

    for caller in (app.member("owner", app.other_company()), app.as_agent()):
        with pytest.raises(Forbidden):
            app.ask(log_proofs.may_prove_log_of, app.company, caller=caller)
