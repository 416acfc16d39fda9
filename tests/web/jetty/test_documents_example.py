"""The Python example of the Routines API document, as it stands there, against our server."""

import re
from pathlib import Path

from tests.web.jetty.conftest import WORKFLOW

EXAMPLE = (Path(__file__).parent / "documents_example.py.txt").read_text()


def test_the_documents_own_example_runs_unchanged(jetty, capsys):
    jetty.task("nl-to-sql-regression", WORKFLOW)
    code = EXAMPLE.replace("https://flows-api.jetty.io", jetty.api.url).replace("<your-jetty-api-token>", jetty.key)
    code = code.replace('COLLECTION = "my-org"', f'COLLECTION = "{jetty.collection}"')

    exec(compile(code, "example", "exec"), {})

    keys, workflow_id = capsys.readouterr().out.splitlines()
    assert keys == "{'model': 'gpt-4o', 'tenant_filter': None, 'sample_size': 10}"
    assert re.fullmatch(rf"flow-{jetty.collection}-nl-to-sql-regression--\d+", workflow_id)
