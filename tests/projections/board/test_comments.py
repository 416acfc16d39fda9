"""Comments on issues: in either order, after one another, and how many there are (contract 7.5)."""

import pytest

from application.request_bodies.issues import CommentDraft
from application.use_cases.board import issues as use_cases
from domain.identity import FIRST_USER
from projections.board import comments
from projections.responses import time
from tests.projections.story import START


@pytest.fixture
def acme(story):
    return story.company()


def test_comments_are_read_either_way_and_after_one_another(story, conn, acme):
    id_ = story.issue(acme)
    ids = [story.ask(use_cases.comment, id_, CommentDraft(body=text), None) for text in "abcd"]
    story.ask(use_cases.comment, story.issue(acme), CommentDraft(body="elsewhere"), None)
    story.project_all()

    def bodies(**options):
        options = {"newest_first": False, "limit": 10} | options
        return "".join(comment.body for comment in comments.page(conn, id_, **options))

    assert bodies() == "abcd"
    assert bodies(newest_first=True) == "dcba"
    second = comments.find_position(conn, id_, ids[1])
    assert bodies(after=second) == "cd"
    assert bodies(after=second, newest_first=True, limit=1) == "d"
    assert bodies(limit=3) == "abc"
    cursor = comments.cursor(conn, id_)
    assert (cursor.total_comments, cursor.latest_comment_id, cursor.latest_comment_at) == (4, ids[3], time(START))
    assert comments.one(conn, id_, ids[0]).author_user_id == str(FIRST_USER)
    assert comments.one(conn, acme, ids[0]) is None
    assert comments.find_position(conn, acme, ids[0]) is None


def test_an_issue_without_comments_has_an_empty_cursor(story, conn, acme):
    id_ = story.issue(acme)
    story.project_all()

    cursor = comments.cursor(conn, id_)

    assert (cursor.total_comments, cursor.latest_comment_id, cursor.latest_comment_at) == (0, None, None)
