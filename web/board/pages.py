"""All pages of the board for those who are signed in."""

from web.board import general, issues, routine, routines, runs

PAGES = [
    general.start,
    general.root,
    general.create_company,
    general.settings,
    general.save_settings,
    general.find,
    routines.routines,
    routines.run_now,
    routines.pause_page,
    routines.pause,
    routines.change_status,
    routines.change_many,
    routine.routine,
    routine.revisions,
    routine.restore,
    runs.runs,
    runs.run,
    runs.run_again,
    issues.issues,
    issues.issue,
    issues.comment,
    issues.move,
    issues.release,
]
