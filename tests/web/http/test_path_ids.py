"""Ids in paths: what is no id in its one form names nothing, whatever else would take it for one."""

from typing import Any

import pytest

from tests.api import Api
from tests.web.described_apis import DescribedApis, operations, path_of
from web.http.path_ids import PathId

ID = "9f1c2d3e-4b5a-4678-9abc-def012345678"


@pytest.mark.parametrize("malformed", ["nonsense", ID.replace("-", ""), f"{{{ID}}}", f"urn:uuid:{ID}", f"{ID}0"])
def test_a_malformed_id_of_a_path_is_answered_like_one_that_is_unknown(
    api: Api, described_apis: DescribedApis, malformed: str
):
    described_api, count = described_apis["paperclip"], 0
    for one in operations(described_api):
        body: Any = next(iter(described_api.examples.requests.get(one.id, {}).values()), ...)
        for name, field in one.handler.parsed_fn_signature.parameters.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, PathId):
                path = path_of(one, {**described_api.examples.paths, name: malformed}).removeprefix("/api")
                answer = api.request(one.method.upper(), path, body)
                assert (404, f"{field.annotation.noun} not found") == (answer.status_code, answer.json()["error"]), path
                count += 1

    assert count > 60
