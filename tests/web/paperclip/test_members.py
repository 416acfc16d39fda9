"""Who belongs to a company: added, changed and removed over HTTP; viewers; the last owner."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from eventsourcing.persistence import IntegrityError

from application.access import Caller, identify
from application.event_store.unit_of_work import UnitOfWork
from application.request_bodies.board import MemberDraft, MemberPatch
from application.request_bodies.issues import IssueDraft
from application.use_cases import read_access
from application.use_cases.board import issues, members
from application.use_cases.board.members import MembershipRef
from domain.errors import Forbidden
from domain.events import NameClaimed
from domain.identity import claim_of
from routines import bootstrap
from tests.api import Api
from tests.web import people

LAST = "A company needs an owner: make another member an owner first"
NOT_AN_OWNER = "Only an owner may add, change or remove an owner"
VIEWER = "Viewer access is read-only"


class Club(msgspec.Struct):
    """A company and ways to its members."""

    api: Api
    company: str

    @property
    def path(self) -> str:
        return f"/companies/{self.company}/members"

    def add(self, role: str = "member", name: str = "Robin", **more: Any) -> tuple[str, str]:
        """Id and token of a new user with a role."""
        member = self.api.post(self.path, {"name": name, "membershipRole": role, **more})
        return member["userId"], member["token"]

    def answer(self, method: str, user: str = "", body: Any = ..., token: str | None = "") -> tuple[int, str]:
        """Status and error."""
        answer = self.api.request(method, f"{self.path}/{user}".rstrip("/"), body, token=token)
        return answer.status_code, answer.json()["error"] if answer.is_error else ""

    def leave(self) -> None:
        """The board user who made the company is no member any more; there must be another owner."""
        assert (204, "") == self.answer("DELETE", self.api.get("/cli-auth/me")["userId"])

    def roles(self) -> list[str]:
        return [member["membershipRole"] for member in self.api.get(self.path)]


@pytest.fixture
def club(api: Api) -> Club:
    return Club(api=api, company=api.company())


def test_a_new_member_is_shown_with_a_token_once(club: Club):
    member = club.api.post(club.path, {"name": " Ann ", "email": f"{uuid4()}@Example.org"})

    token = member.pop("token")
    assert {
        "userId": member["userId"],
        "name": "Ann",
        "email": member["email"],
        "companyId": club.company,
        "membershipRole": "member",
        "permissions": ["tasks:assign"],
        "status": "active",
        "createdAt": member["createdAt"],
        "updatedAt": member["createdAt"],
    } == member
    assert member["email"].endswith("@Example.org")
    assert member == club.api.get(club.path)[1]
    assert token not in club.api.request("GET", club.path).text


def test_members_are_listed_in_the_order_they_joined_to_members_viewers_and_agents(club: Club):
    _, agent = club.api.agent(club.company)
    (_, viewer), _ = club.add("viewer", "Ann"), club.add("admin", "Ben")

    lists = [club.api.get(club.path, token=token) for token in ("", viewer, agent)]

    assert ["Board", "Ann", "Ben"] == [member["name"] for member in lists[0]]
    assert lists[0] == lists[1] == lists[2]


def test_a_new_user_acts_with_the_token_for_thirty_days(club: Club):
    user, token = club.add("admin", "Ann")

    me = club.api.get("/cli-auth/me", token=token)
    (key,) = club.api.get("/board-api-keys", token=token)

    assert (user, False, [club.company]) == (me["userId"], me["isInstanceAdmin"], me["companyIds"])
    assert [{"companyId": club.company, "membershipRole": "admin", "status": "active"}] == me["memberships"]
    assert timedelta(days=30) == datetime.fromisoformat(key["expiresAt"]) - datetime.fromisoformat(key["createdAt"])
    assert [club.company] == [company["id"] for company in club.api.get("/companies", token=token)]


def test_a_user_who_is_known_joins_by_id_and_gets_no_token(club: Club):
    email = f"{uuid4()}@Example.org"
    user, token = club.add("member", "Ann", email=email)
    other = Club(api=club.api, company=club.api.company())

    by_id = club.api.post(other.path, {"userId": user, "name": "Ann B", "membershipRole": "viewer"})

    assert (user, None, "Ann", "viewer") == (by_id["userId"], by_id["token"], by_id["name"], by_id["membershipRole"])
    assert [club.company, other.company] == club.api.get("/cli-auth/me", token=token)["companyIds"]


def test_whoever_gave_an_email_elsewhere_is_not_let_in_by_it_even_by_an_instance_admin(club: Club):
    """Nobody proves that an address is theirs: a stranger may have registered it first."""
    email = f"{uuid4()}@Example.org"
    stranger, strangers_token = club.add("owner", "Not Ann", email=email)
    home = Club(api=club.api, company=club.api.company())

    ann = club.api.post(home.path, {"name": "Ann", "email": f" {email.upper()} ", "membershipRole": "owner"})

    assert ann["userId"] != stranger
    assert ann["token"]
    assert ("Ann", email.upper()) == (ann["name"], ann["email"])
    assert 403 == home.answer("GET", token=strangers_token)[0]
    assert [home.company] == club.api.get("/cli-auth/me", token=ann["token"])["companyIds"]


def test_an_email_that_others_know_is_answered_as_one_that_nobody_knows(club: Club):
    known = f"{uuid4()}@example.org"
    club.add("owner", email=known)
    home = Club(api=club.api, company=club.api.company())
    _, manager = home.add("admin")

    def added(email: str) -> tuple[int, Any, list[str]]:
        before = club.api.system.store.head()
        answer = club.api.request("POST", home.path, {"name": "Ann", "email": email}, token=manager)
        events = [one.name for one in club.api.system.store.after(before, 100)]
        shape = {name: type(value) for name, value in answer.json().items()}
        return answer.status_code, shape, events

    assert added(known) == added(f"{uuid4()}@example.org")
    assert 201 == added(f"{uuid4()}@example.org")[0]


def test_an_email_names_as_many_users_as_companies_give_it(api: Api):
    clubs = [Club(api=api, company=api.company()) for _ in range(4)]
    body = {"name": "Ann", "email": f"{uuid4()}@example.org"}

    with ThreadPoolExecutor(len(clubs)) as pool:
        new_members = list(pool.map(lambda club: api.post(club.path, body), clubs))

    assert 4 == len({member["userId"] for member in new_members})
    assert all(member["token"] for member in new_members)


def test_an_email_is_one_members_of_a_company_until_they_are_removed(club: Club):
    email = f"{uuid4()}@example.org"
    body = {"name": "Ann", "email": email}

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: club.answer("POST", body=body | {"email": email.upper()}), range(4)))
    first = club.api.get(club.path)[1]["userId"]
    club.answer("DELETE", first)
    second = club.api.post(club.path, body)

    assert [(201, ""), *[(409, "Already a member")] * 3] == sorted(answers)
    assert second["userId"] != first
    assert (409, "Already a member") == club.answer("POST", body=body)


def test_an_email_that_was_claimed_before_identifies_nobody(club: Club):
    """Installations hold such claims from when an email named a user everywhere."""
    email, (stranger, _) = f"{uuid4()}@example.org", club.add("owner")
    event = NameClaimed(scope="email", name=email, holder_id=UUID(stranger))
    club.api.system.executor.attempt(lambda work: work.record(claim_of("email", email), [event]))
    home = Club(api=club.api, company=club.api.company())

    assert stranger != club.api.post(home.path, {"name": "Ann", "email": email})["userId"]


def test_a_stranger_by_id_is_answered_as_nobody_is_so_that_no_name_or_email_is_told(club: Club):
    stranger, _ = club.add("member", "Secret Name", email=f"{uuid4()}@example.org")
    home = Club(api=club.api, company=club.api.company())
    _, owner = home.add("owner")

    answers = [club.api.request("POST", home.path, {"userId": id_}, token=owner) for id_ in (stranger, str(uuid4()))]

    assert [404, 404] == [answer.status_code for answer in answers]
    assert answers[0].content == answers[1].content
    assert {"owner"} == set(home.roles())


def test_who_is_in_another_company_of_the_caller_is_added_by_id(club: Club):
    user, _ = club.add("member", "Ann")
    home = Club(api=club.api, company=club.api.company())
    owner, owner_token = home.add("owner")
    assert (404, "User not found") == home.answer("POST", body={"userId": user}, token=owner_token)

    club.answer("POST", body={"userId": owner, "membershipRole": "viewer"})

    assert (201, "") == home.answer("POST", body={"userId": user}, token=owner_token)
    assert (204, "") == home.answer("DELETE", user, token=owner_token)
    club.answer("DELETE", owner)
    assert (201, "") == home.answer("POST", body={"userId": user}, token=owner_token)  # who was here before is known


def test_nobody_joins_twice(club: Club):
    user, _ = club.add()

    assert (409, "Already a member") == club.answer("POST", body={"userId": user})


@pytest.mark.parametrize("id_", ["5f0c1f5e-0000-4000-8000-0000000000ff", "11111111-1111-1111-1111-111111111111"])
def test_a_user_who_does_not_exist_cannot_join(club: Club, id_: str):
    assert (404, "User not found") == club.answer("POST", body={"userId": id_})


def test_what_is_no_user_is_not_found_as_one(club: Club):
    assert (404, "User not found") == club.answer("POST", body={"userId": club.company})


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, ["name"]),
        ({"email": "ann@example.org"}, ["name"]),
        ({"name": " "}, ["name"]),
        ({"name": "x" * 201}, ["name"]),
        ({"name": 1}, ["name"]),
        ({"userId": "nobody"}, ["userId"]),
        ({"name": "Ann", "email": "ann"}, ["email"]),
        ({"name": "Ann", "email": "a b@example.org"}, ["email"]),
        ({"name": "Ann", "email": "a" * 250 + "@b.org"}, ["email"]),
        ({"name": "Ann", "email": ""}, ["email"]),
        ({"name": "Ann", "membershipRole": "god"}, ["membershipRole"]),
        ({"name": "Ann", "membershipRole": None}, ["membershipRole"]),
        ({"name": "Ann", "permissions": "tasks:assign"}, ["permissions"]),
        ({"name": "Ann", "permissions": None}, ["permissions"]),
        ({"name": "Ann", "permissions": ["all"]}, ["permissions", 0]),
        ({"name": "Ann", "permissions": ["tasks:assign"] * 21}, ["permissions"]),
        ({"name": "Ann", "keyExpiresAt": "tomorrow"}, ["keyExpiresAt"]),
        ({"name": "Ann", "keyExpiresAt": "2020-01-01T00:00:00Z"}, ["keyExpiresAt"]),
        ({"userId": "5f0c1f5e-0000-4000-8000-0000000000ff", "keyExpiresAt": None}, ["keyExpiresAt"]),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(club: Club, body: Any, path: list[Any]):
    answer = club.api.request("POST", club.path, body)

    assert 400 == answer.status_code
    assert [path] == [issue["path"] for issue in answer.json()["details"]]
    assert ["owner"] == club.roles()


@pytest.mark.parametrize("body", [{"membershipRole": None}, {"membershipRole": "god"}, {"permissions": None}])
def test_a_change_names_the_wrong_field_too(club: Club, body: Any):
    user, _ = club.add()

    answer = club.api.request("PATCH", f"{club.path}/{user}", body)

    assert (400, [list(body)]) == (answer.status_code, [issue["path"] for issue in answer.json()["details"]])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({}, ["tasks:assign"]),
        ({"permissions": []}, []),
        ({"permissions": ["tasks:assign"] * 2}, ["tasks:assign"]),
        ({"membershipRole": "viewer"}, []),
        ({"membershipRole": "owner"}, ["tasks:assign"]),
    ],
)
def test_whoever_may_write_may_assign_unless_told_otherwise(club: Club, given: Any, kept: list[str]):
    assert kept == club.api.post(club.path, {"name": "Ann", **given})["permissions"]


def test_a_viewer_gets_no_permission(club: Club):
    body = {"membershipRole": "viewer", "permissions": ["tasks:assign"]}
    user, _ = club.add()

    assert (422, "A viewer has no permissions") == club.answer("POST", body={"name": "Ann", **body})
    assert (422, "A viewer has no permissions") == club.answer("PATCH", user, body)


def test_a_change_counts_from_the_next_request_on(club: Club):
    user, token = club.add("viewer")
    path, draft = f"/companies/{club.company}/routines", {"title": "Look"}

    before = club.api.request("POST", path, draft, token=token)
    changed = club.api.patch(f"{club.path}/{user}", {"membershipRole": "member"})
    during = club.api.request("POST", path, draft, token=token)
    stripped = club.api.patch(f"{club.path}/{user}", {"permissions": []})
    after = club.api.request("POST", path, draft, token=token)

    assert ("member", ["tasks:assign"]) == (changed["membershipRole"], changed["permissions"])
    assert ("member", []) == (stripped["membershipRole"], stripped["permissions"])
    assert stripped == club.api.get(club.path)[1]
    assert changed["createdAt"] <= changed["updatedAt"] < stripped["updatedAt"]
    assert [403, 201, 403] == [answer.status_code for answer in (before, during, after)]
    assert [VIEWER, "Missing permission: tasks:assign"] == [answer.json()["error"] for answer in (before, after)]


@pytest.mark.parametrize("body", [{}, {"membershipRole": "admin"}, {"permissions": ["tasks:assign"]}])
def test_a_change_of_nothing_records_nothing(club: Club, body: Any):
    user, _ = club.add("admin")
    before = club.api.get(club.path)[1]

    assert before == club.api.patch(f"{club.path}/{user}", body)


def test_a_viewer_writes_nothing(club: Club):
    api, (_, viewer) = club.api, club.add("viewer")
    agent, _ = api.agent(club.company)
    company, routine = f"/companies/{club.company}", api.routine(club.company, agent)
    issue = api.post(f"{company}/issues", {"title": "Look"})["id"]
    writes = [
        ("PATCH", company, {"name": "Mine"}),
        ("POST", f"{company}/archive", {}),
        ("POST", f"{company}/agents", {"name": "Spy"}),
        ("POST", f"{company}/projects", {"name": "Moon"}),
        ("POST", f"{company}/goals", {"title": "Land"}),
        ("POST", f"{company}/routines", {"title": "Look"}),
        ("POST", f"{company}/issues", {"title": "Look"}),
        ("POST", club.path, {"name": "Friend"}),
        ("PATCH", f"/routines/{routine}", {"title": "x"}),
        ("POST", f"/routines/{routine}/run", {}),
        ("POST", f"/routines/{routine}/triggers", {"kind": "api"}),
        ("POST", f"/agents/{agent}/keys", {}),
        ("POST", f"/agents/{agent}/pause", {}),
        ("PATCH", f"/issues/{issue}", {"status": "done"}),
        ("POST", f"/issues/{issue}/comments", {"body": "Hm"}),
    ]

    answers = [api.request(method, path, body, token=viewer) for method, path, body in writes]

    assert {(403, VIEWER)} == {(answer.status_code, answer.json()["error"]) for answer in answers}


def test_owners_and_admins_manage_and_only_owners_manage_owners(club: Club):
    (owner, owner_token), (admin, admin_token) = club.add("owner"), club.add("admin")
    member, member_token = club.add("member")

    assert (403, "Only owners and admins may manage members") == club.answer("DELETE", admin, token=member_token)
    assert (403, NOT_AN_OWNER) == club.answer("DELETE", owner, token=admin_token)
    assert (403, NOT_AN_OWNER) == club.answer("PATCH", owner, {"membershipRole": "viewer"}, token=admin_token)
    assert (403, NOT_AN_OWNER) == club.answer("PATCH", admin, {"membershipRole": "owner"}, token=admin_token)
    assert (403, NOT_AN_OWNER) == club.answer("POST", "", {"name": "x", "membershipRole": "owner"}, token=admin_token)
    assert (200, "") == club.answer("PATCH", member, {"membershipRole": "admin"}, token=admin_token)
    assert (200, "") == club.answer("PATCH", member, {"membershipRole": "owner"}, token=owner_token)
    assert (204, "") == club.answer("DELETE", member, token=owner_token)
    assert (204, "") == club.answer("DELETE", admin, token=admin_token)
    assert ["owner", "owner"] == club.roles()


def test_the_last_owner_stays_whoever_asks(club: Club):
    owner, token = club.add("owner")
    club.leave()
    club.add("admin")

    for caller in (token, ""):
        assert (409, LAST) == club.answer("DELETE", owner, token=caller)
        assert (409, LAST) == club.answer("PATCH", owner, {"membershipRole": "admin"}, token=caller)
    assert (200, "") == club.answer("PATCH", owner, {"permissions": []}, token=token)
    assert ["owner", "admin"] == club.roles()


def test_an_owner_goes_once_there_is_another(club: Club):
    (owner, token), (heir, _) = club.add("owner"), club.add("admin")
    club.leave()

    assert (409, LAST) == club.answer("DELETE", owner, token=token)
    assert (200, "") == club.answer("PATCH", heir, {"membershipRole": "owner"}, token=token)
    assert (204, "") == club.answer("DELETE", owner, token=token)
    assert ["owner"] == club.roles()


def test_of_two_owners_who_unmake_each_other_at_the_same_moment_the_second_must_think_again(club: Club):
    (ann, by_ann), (ben, by_ben) = club.add("owner"), club.add("owner")
    club.leave()
    owners = UUID(ann), UUID(ben)
    seats = [MembershipRef(company_id=UUID(club.company), user_id=user, owners=owners) for user in owners]
    first, second = (UnitOfWork(club.api.system.store, club.api.system.clock()) for _ in owners)
    members.remove(first, identify(first, Caller(token=by_ann)), seats[1])
    demotion = MemberPatch(membership_role="viewer")
    members.change(second, identify(second, Caller(token=by_ben)), seats[0], demotion)

    first.commit()

    with pytest.raises(IntegrityError):
        second.commit()
    assert ["owner"] == club.roles()


def test_of_many_owners_who_remove_the_next_one_at_once_somebody_is_left(club: Club):
    owners = [club.add("owner") for _ in range(6)]
    club.leave()
    following = [*owners[1:], owners[0]]

    with ThreadPoolExecutor(len(owners)) as pool:
        answers = list(
            pool.map(
                lambda pair: club.answer("DELETE", pair[1][0], token=pair[0][1]), zip(owners, following, strict=True)
            )
        )

    removed = answers.count((204, ""))
    assert ["owner"] * (len(owners) - removed) == club.roles()
    assert removed < len(owners)
    assert {204, 403, 409} >= {status for status, _ in answers}


def test_the_removed_are_strangers_from_the_next_request_on(club: Club):
    user, token = club.add("admin")
    path = f"/companies/{club.company}"
    issue = club.api.post(f"{path}/issues", {"title": "Look"}, token=token)["id"]

    club.answer("DELETE", user)

    assert (403, "User does not have access to this company") == club.answer("GET", token=token)
    assert 403 == club.api.request("GET", path, token=token).status_code
    assert 404 == club.api.request("GET", f"/issues/{issue}", token=token).status_code
    assert [] == club.api.get("/companies", token=token)
    me = club.api.get("/cli-auth/me", token=token)
    assert ([], []) == (me["companyIds"], me["memberships"])
    assert ["owner"] == club.roles()


def test_a_removal_counts_in_every_process_at_once(club: Club):
    user, token = club.add()
    caller, company = Caller(token=token), UUID(club.company)
    with bootstrap.system(club.api.system.settings) as other:
        other.executor.query_as(caller, read_access.company, company)

        club.answer("DELETE", user)

        with pytest.raises(Forbidden):
            other.executor.query_as(caller, read_access.company, company)


def test_what_a_member_was_about_to_do_is_not_done_after_the_removal(club: Club):
    user, token = club.add()
    work = UnitOfWork(club.api.system.store, club.api.system.clock())
    issues.create(work, identify(work, Caller(token=token)), UUID(club.company), IssueDraft(title="Look"))

    club.answer("DELETE", user)

    with pytest.raises(IntegrityError):
        work.commit()


def test_the_removed_may_be_added_again(club: Club):
    user, token = club.add("admin", "Ann")
    club.add("member", "Ben")
    club.answer("DELETE", user)

    again = club.api.post(club.path, {"userId": user, "membershipRole": "viewer"})

    assert ("Ann", "viewer", [], None) == (
        again["name"],
        again["membershipRole"],
        again["permissions"],
        again["token"],
    )
    assert ["Board", "Ben", "Ann"] == [member["name"] for member in club.api.get(club.path, token=token)]


@pytest.mark.parametrize("id_", ["5f0c1f5e-0000-4000-8000-0000000000ff", "nonsense"])
def test_who_is_no_member_is_neither_changed_nor_removed(club: Club, id_: str):
    assert (404, "Member not found") == club.answer("PATCH", id_, {})
    assert (404, "Member not found") == club.answer("DELETE", id_)


def test_who_was_removed_or_belongs_to_another_company_is_no_member(club: Club):
    gone, _ = club.add()
    foreign, _ = Club(api=club.api, company=club.api.company()).add()

    assert (204, "") == club.answer("DELETE", gone)

    for user in (gone, foreign):
        assert (404, "Member not found") == club.answer("DELETE", user)
        assert (404, "Member not found") == club.answer("PATCH", user, {"membershipRole": "admin"})


def test_an_unknown_company_has_no_members(api: Api):
    nowhere = Club(api=api, company=str(uuid4()))

    assert (404, "Company not found") == nowhere.answer("GET")
    assert (404, "Company not found") == nowhere.answer("POST", body={"name": "Ann"})
    assert (404, "Company not found") == nowhere.answer("DELETE", str(uuid4()))


def test_an_instance_admin_manages_companies_they_are_no_member_of(club: Club):
    club.add("owner")
    club.leave()

    owner, _ = club.add("owner")

    assert (204, "") == club.answer("DELETE", owner)


def test_no_token_of_a_new_user_is_stored_anywhere(club: Club):
    _, token = club.add()

    with club.api.system.pool.connection() as conn:
        row = conn.execute("SELECT count(*) FROM log.events WHERE strpos(body::text, %s) > 0", (token,)).fetchone()

    assert (0,) == row


def test_no_token_shows_in_the_repr_of_what_was_made(club: Club):
    added = club.api.system.executor.execute(
        Caller(token=club.api.token), members.add, UUID(club.company), MemberDraft(name="Ann")
    ).result

    assert added.key.token not in repr(added)


def test_people_are_members_by_the_same_route(api: Api):
    company = api.company()
    people.member(api, company, "viewer")

    assert ["owner", "viewer"] == Club(api=api, company=company).roles()
