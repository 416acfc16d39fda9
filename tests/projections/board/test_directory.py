"""Directory: companies, members, agents, projects, goals and keys, as the log has them."""

from datetime import timedelta

from application.access import Caller
from application.request_bodies.board import AgentKeyDraft, BoardKeyDraft, MemberDraft, MemberPatch, ProjectPatch
from application.request_bodies.jetty import ApiKeyCreate
from application.use_cases.board import agents, keys, members, projects
from application.use_cases.board.members import MembershipRef
from application.use_cases.jetty import collections
from domain.identity import FIRST_USER, key_of
from projections import usage
from projections.board import agents as agent_rows
from projections.board import companies, goals
from projections.board import keys as key_rows
from projections.board import members as member_rows
from projections.board import projects as project_rows
from projections.board.directory import directory
from projections.jetty import collections as collection_rows
from projections.responses import time
from tests.projections.sharing import SHARED
from tests.projections.story import DAY, MINUTE, START, folded, rows


@SHARED
def test_companies_stand_oldest_first_with_prefixes_of_their_own(projected_story, conn):
    ids = projected_story.ids

    acme, twin, *_ = companies.all_companies(conn)

    assert (acme.id, acme.name, acme.issue_prefix, acme.status) == (ids["acme"], "Acme", "ACM", "active")
    assert (twin.id, twin.name, twin.issue_prefix, twin.status) == (ids["twin"], "Twin", "ACMA", "archived")
    assert twin.description == "The other"
    assert companies.one(conn, ids["acme"]) == acme
    assert companies.one(conn, ids["scout"]) is None


@SHARED
def test_the_first_user_is_an_admin_and_owner_of_what_they_created(projected_story, conn):
    person = member_rows.person(conn, FIRST_USER)
    assert (person.name, person.email, person.instance_admin) == ("Board", None, True)
    assert companies.of_user(conn, FIRST_USER) == companies.all_companies(conn)
    assert [(one.company_id, one.membership_role) for one in member_rows.of_user(conn, FIRST_USER)] == [
        (projected_story.ids[name], "owner") for name in ("acme", "twin", "my-org", "postal")
    ]


def test_members_stand_in_the_order_they_joined_as_they_are_now(story, conn):
    acme = story.company()
    ann, ben = (story.ask(members.add, acme, MemberDraft(name=name)).user_id for name in ("Ann", "Ben"))
    story.passes(MINUTE)
    story.ask(members.change, membership(acme, ann), MemberPatch(membership_role="owner", permissions=()))
    story.project_all()

    board, first, second = member_rows.of_company(conn, acme)

    assert (board.name, board.email, board.membership_role) == ("Board", None, "owner")
    assert (first.user_id, first.name, first.membership_role, first.permissions) == (ann, "Ann", "owner", ())
    assert (first.created_at, first.updated_at) == (time(START), time(START + MINUTE))
    assert (second.user_id, second.membership_role, second.permissions) == (ben, "member", ("tasks:assign",))
    assert member_rows.one(conn, acme, ben) == second
    assert member_rows.owners(conn, acme) == [FIRST_USER, ann]


def test_a_removed_member_is_gone_and_comes_back_as_a_new_one(story, conn):
    acme = story.company()
    ann, ben = (story.ask(members.add, acme, MemberDraft(name=name)).user_id for name in ("Ann", "Ben"))
    story.ask(members.remove, membership(acme, ann))
    story.project_all()

    assert member_rows.one(conn, acme, ann) is None
    assert member_rows.of_user(conn, ann) == []
    assert companies.of_user(conn, ann) == []

    story.passes(MINUTE)
    story.ask(members.add, acme, MemberDraft(user_id=ann, membership_role="viewer"))
    story.project_all()

    assert [one.user_id for one in member_rows.of_company(conn, acme)] == [FIRST_USER, ben, ann]
    member = member_rows.one(conn, acme, ann)
    assert (member.membership_role, member.permissions, member.created_at) == ("viewer", (), time(START + MINUTE))


def test_members_are_the_same_however_the_log_is_cut(story, conn):
    acme = story.company()
    ann = story.ask(members.add, acme, MemberDraft(name="Ann", email="ann@example.org")).user_id
    story.ask(members.change, membership(acme, ann), MemberPatch(membership_role="viewer"))
    story.ask(members.remove, membership(acme, ann))
    again = story.ask(members.add, acme, MemberDraft(name="Ann", email="ANN@example.org")).user_id
    story.ask(members.change, membership(acme, again), MemberPatch(membership_role="admin"))
    story.project_all()
    log = list(story.store.history())

    for batch in (1, 2, len(log)):
        assert folded(conn, directory, log, batch) == rows(conn, directory)


def test_what_has_expired_is_no_key_any_more(story, conn):
    acme = story.company()
    scout = story.agent(acme)
    soon = START + MINUTE
    for expires_at in (soon, None):
        story.ask(keys.create_for_agent, scout, AgentKeyDraft(expires_at=expires_at))
        story.ask(keys.create_for_board, BoardKeyDraft(expires_at=expires_at))
        story.ask(collections.create_key, ApiKeyCreate(name="k", collection_name=str(acme), expires_at=expires_at))
    story.project_all()

    def good(holder, now):
        return usage.count(conn, "max_holder_keys", holder, 99, now)

    def active(now):
        return [key.is_active for key in collection_rows.keys(conn, acme, now)]

    almost, own = soon - timedelta(milliseconds=1), 1  # the key that the first user has from the beginning
    assert [good(scout, almost), good(acme, almost), good(FIRST_USER, almost) - own] == [2, 2, 2]
    assert [good(scout, soon), good(acme, soon), good(FIRST_USER, soon) - own] == [1, 1, 1]
    assert (active(almost), active(soon)) == ([True, True], [True, False])


def test_keys_that_went_with_their_issuer_are_the_same_however_the_log_is_cut(story, conn):
    acme = story.company()
    scout = story.agent(acme)
    ann = story.ask(members.add, acme, MemberDraft(name="Ann"))
    issue, by_ann = keys.create_for_agent, Caller(token=ann.key.token)
    bound = ApiKeyCreate(name="bound", collection_name=str(acme))
    first = [
        story.ask(issue, scout, AgentKeyDraft(), caller=by_ann),
        story.ask(collections.create_key, bound, caller=by_ann),
    ]
    kept = story.ask(issue, scout, AgentKeyDraft())
    story.passes(MINUTE)
    story.ask(members.remove, membership(acme, ann.user_id))
    story.ask(members.add, acme, MemberDraft(user_id=ann.user_id))
    again = story.ask(issue, scout, AgentKeyDraft(), caller=by_ann)
    story.project_all()
    log = list(story.store.history())

    listed = {key.id: key.revoked_at for key in key_rows.of_company(conn, acme, 9)}
    removed_at = time(START + MINUTE)
    assert listed == dict.fromkeys([one.key_id for one in first], removed_at) | {kept.key_id: None, again.key_id: None}
    for model in (directory, collection_rows.collections):
        for batch in (1, 2, len(log)):
            assert folded(conn, model, log, batch) == rows(conn, model)


def membership(company_id, user_id):
    return MembershipRef(company_id=company_id, user_id=user_id, owners=())


@SHARED
def test_agents_stand_oldest_first_with_short_names_of_their_own(projected_story, conn):
    ids = projected_story.ids

    scout, rover, gone = agent_rows.of_company(conn, ids["acme"])

    assert [one.url_key for one in (scout, rover, gone)] == ["scout", "scout-2", "gone"]
    assert [one.status for one in (scout, rover, gone)] == ["idle", "paused", "terminated"]
    assert (rover.title, rover.reports_to, rover.pause_reason, rover.paused_at) == (
        "Deputy",
        scout.id,
        "holiday",
        time(START),
    )
    assert gone.adapter_config == {"a": [1, None]}
    assert agent_rows.one(conn, rover.id) == rover
    assert agent_rows.find_by_url_key(conn, ids["acme"], "scout-2") == rover
    assert agent_rows.find_by_url_key(conn, ids["twin"], "scout-2") is None
    assert agent_rows.of_company(conn, ids["twin"]) == []


def test_a_resumed_agent_shows_no_pause(story, conn):
    scout = story.agent(story.company())
    story.ask(agents.pause, scout, "holiday")
    story.passes(MINUTE)
    story.ask(agents.resume, scout)
    story.project_all()

    agent = agent_rows.one(conn, scout)

    assert (agent.status, agent.paused_at, agent.pause_reason) == ("idle", None, None)
    assert (agent.created_at, agent.updated_at) == (time(START), time(START + MINUTE))


@SHARED
def test_a_deleted_project_or_goal_is_gone(projected_story, conn):
    ids = projected_story.ids

    (move,) = project_rows.of_company(conn, ids["acme"])
    (grow,) = goals.of_company(conn, ids["acme"])

    assert (move.id, move.url_key, move.color, move.lead_agent_id) == (ids["move"], "move", "#fff", ids["scout"])
    assert move.goal_id == grow.id
    assert (grow.title, grow.status, grow.owner_agent_id) == ("Grow", "active", ids["scout"])
    assert project_rows.find_by_url_key(conn, ids["acme"], "old") is None
    assert goals.one(conn, grow.id) == grow


def test_a_paused_project_says_since_when_and_why(story, conn):
    move = story.project(story.company())
    story.passes(DAY)
    story.ask(projects.pause, move)
    story.project_all()

    paused = project_rows.one(conn, move)
    story.ask(projects.resume, move)
    story.ask(projects.update, move, ProjectPatch(status="completed"))
    story.project_all()
    resumed = project_rows.one(conn, move)

    assert (paused.paused_at, paused.pause_reason) == (time(START + DAY), "manual")
    assert (resumed.paused_at, resumed.pause_reason, resumed.status) == (None, None, "completed")


def test_keys_stand_newest_first_and_never_show_their_token(story, conn):
    scout = story.agent(story.company())
    minted = story.ask(keys.create_for_agent, scout, AgentKeyDraft(name="one"))
    other = story.ask(keys.create_for_agent, scout, AgentKeyDraft(name="two"))
    board = story.ask(keys.create_for_board, BoardKeyDraft(name="cli"))
    story.passes(MINUTE)
    story.ask(keys.revoke_agent_key, scout, minted.key_id)
    story.ask(keys.revoke_board_key, board.key_id)
    story.project_all()

    of_agent, of_board = key_rows.of_agent(conn, scout), key_rows.of_user(conn, FIRST_USER)

    assert [(one.id, one.name, one.revoked_at) for one in of_agent] == [
        (other.key_id, "two", None),
        (minted.key_id, "one", time(START + MINUTE)),
    ]
    assert [(one.name, one.revoked_at) for one in of_board] == [
        ("cli", time(START + MINUTE)),
        ("first board key", None),
    ]
    assert of_board[0].expires_at == time(START + 30 * DAY)
    assert of_board[1].id == key_of(story.caller.token)
    everything = conn.execute("SELECT string_agg(k::text, '') FROM access_key k").fetchone()[0]
    assert not [token for token in (minted.token, other.token, board.token) if token in everything]


def test_the_moment_of_a_revocation_is_the_first(story, conn):
    scout = story.agent(story.company())
    minted = story.ask(keys.create_for_agent, scout, AgentKeyDraft())
    for _ in range(2):
        story.ask(keys.revoke_agent_key, scout, minted.key_id, caller=Caller(token=story.caller.token))
        story.passes(MINUTE)
    story.project_all()

    assert key_rows.of_agent(conn, scout)[0].revoked_at == time(START)
