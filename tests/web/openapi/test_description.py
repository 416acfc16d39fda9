"""What both APIs say of themselves: all that their operations read and answer, with examples that are true."""

import re
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from tests.api import Api
from tests.web import hooks
from tests.web.described_apis import PLACES, DescribedApi, DescribedApis, operations, path_of
from tests.web.request_reads import reads_of, told_by
from web.http.validation import parse

ADDRESS = "urn:description"
BODY = b"{}"
MODES = ("none", "bearer", "hmac_sha256", "github_hmac", "standard_webhooks")


@pytest.fixture(scope="module", params=PLACES)
def described_api(described_apis: DescribedApis, request: pytest.FixtureRequest) -> DescribedApi:
    return described_apis[request.param]


@pytest.fixture(scope="module")
def validator(described_api: DescribedApi) -> Callable[[Any], Any]:
    """Of a schema of the description, whose components are read once for all."""
    components = {"components": described_api.document["components"]}
    registry = jsonschema_rs.Registry([(ADDRESS, components)])

    def make(schema: Any) -> Any:
        absolute = msgspec.json.encode(schema).replace(b'"#/components/', f'"{ADDRESS}#/components/'.encode())
        return jsonschema_rs.Draft202012Validator(msgspec.json.decode(absolute), registry=registry)

    return make


def test_every_example_of_a_body_has_its_schema_and_is_read_as_the_operation_reads_it(
    described_api: DescribedApi, validator: Callable[[Any], Any]
):
    bodies = {one.id for one in operations(described_api) if "requestBody" in one.document}

    assert described_api.examples.requests.keys() == bodies
    for one in operations(described_api):
        for kind, content in one.document.get("requestBody", {"content": {}})["content"].items():
            for example in content.get("examples", {}).values():
                validator(content["schema"]).validate(example["value"])
                parse(one.body, example["value"])
            assert kind != "application/json" or content["examples"], one.id


def test_every_example_of_an_answer_has_its_schema_and_is_what_the_operation_answers(
    described_api: DescribedApi, validator: Callable[[Any], Any]
):
    shown = set()
    for one in operations(described_api):
        for status, kind in one.answers.items():
            answer = one.document["responses"][str(status)]
            assert (kind is None) == ("content" not in answer), one.id
            if kind is not None and "application/json" in answer["content"]:
                content = answer["content"]["application/json"]
                validator(content["schema"]).validate(content["example"])
                value = msgspec.convert(content["example"], kind)
                assert content["example"] == msgspec.json.decode(msgspec.json.encode(value)), one.id
                shown.add(one.id if status == one.handler.status_code else f"{one.id}.{status}")

    assert described_api.examples.answers.keys() == shown


def test_every_example_of_a_refusal_has_its_schema(described_api: DescribedApi, validator: Callable[[Any], Any]):
    shown = described_api.document["components"]["responses"]

    assert {str(status) for status in described_api.examples.problems} == shown.keys() - {"304"}
    for answer in shown.values():
        for content in answer.get("content", {}).values():
            validator(content["schema"]).validate(content["example"])


def test_every_placeholder_of_a_path_has_an_example(described_api: DescribedApi):
    used = {name for one in operations(described_api) for name in re.findall(r"{(\w+)}", one.path)}

    assert described_api.examples.paths.keys() == used


def test_every_text_is_a_sentence(described_api: DescribedApi):
    texts = [
        text
        for one in operations(described_api)
        for text in (
            one.document["description"],
            *(parameter["description"] for parameter in one.document["parameters"]),
            *(
                described_api.description.resolved(answer)["description"]
                for answer in one.document["responses"].values()
            ),
        )
    ]

    assert [] == sorted({text for text in texts if not re.fullmatch(r"[A-Z`*].*\.", text, re.DOTALL)})


def test_an_operation_says_of_each_header_and_body_that_it_reads_it_and_of_no_other(
    described_apis: DescribedApis, api: Api
):
    """Whatever is read is read by whoever may do everything, of things that are not there."""
    described_api = described_apis["paperclip"]
    headers = {"Authorization": f"Bearer {api.token}"}
    for one in operations(described_api):
        if one.id != "fireWebhook":
            path = path_of(one, described_api.examples.paths)
            headers_read, body_read = reads_of(described_api, one, path, headers)
            assert told_by(one) == (headers_read | ({"if-none-match"} if one.reads else set()), body_read), one.id


def test_a_webhook_says_of_each_header_and_body_that_it_reads_it_and_of_no_other(
    described_apis: DescribedApis, api: Api
):
    described_api = described_apis["paperclip"]
    (one,) = (one for one in operations(described_api) if one.id == "fireWebhook")
    company = api.company()
    routine = api.routine(company, api.agent(company)[0])
    names, bodies = set[str](), set[bool]()
    for mode in MODES:
        webhook = hooks.hook(api, routine, mode)
        path = one.path.replace("{public_id}", webhook.public_id)
        signed = webhook.signed(BODY)
        for headers in (signed, {name.replace("webhook-", "svix-"): value for name, value in signed.items()}):
            read_names, is_body = reads_of(described_api, one, path, headers, BODY)
            names |= read_names
            bodies.add(is_body)

    assert told_by(one) == (names, True)
    assert bodies == {True}
