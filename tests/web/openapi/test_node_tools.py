"""
Linters and TypeScript's generators of clients have nothing to say against the descriptions, and the programs of
docs/clients.md that use them are type-correct and do what they say.

`make install-clients` installs them; without them, these tests are skipped.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from tests.api import Api
from tests.web.described_apis import PLACES, Name

ROOT = Path(__file__).parents[3]
TOOLS = ROOT / "development" / "clients"
PROGRAMS = TOOLS / "node_modules" / ".bin"
PAGE = (ROOT / "docs" / "clients.md").read_text()
LIMIT_S = 200  # of one program: some seconds, and much more where others keep the machine busy
STRICT = {"strict": True, "skipLibCheck": True, "target": "es2022"}
TO_BE_BUNDLED = {**STRICT, "noEmit": True, "module": "esnext", "moduleResolution": "bundler"}
TO_BE_RUN = {**STRICT, "module": "nodenext", "moduleResolution": "nodenext"}
QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}

pytestmark = [
    pytest.mark.skipif(
        shutil.which("node") is None or not PROGRAMS.exists(),
        reason="Node.js or the programs of `make install-clients` are not there",
    ),
    pytest.mark.timeout(3 * LIMIT_S),
]


@pytest.fixture(scope="module")
def descriptions(api: Api, tmp_path_factory: pytest.TempPathFactory) -> Mapping[Name, Path]:
    """Both, as they are served."""
    directory = tmp_path_factory.mktemp("descriptions")
    for name, (path, _) in PLACES.items():
        (directory / f"{name}.json").write_bytes(httpx.get(f"{api.url}{path}", timeout=60).content)
    return {name: directory / f"{name}.json" for name in PLACES}


@pytest.fixture(scope="module")
def types(descriptions: Mapping[Name, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What openapi-typescript makes of both descriptions in one process: to start takes it longer than its work."""
    directory = tmp_path_factory.mktemp("types")
    apis = {
        name: {"root": str(path), "x-openapi-ts": {"output": str(directory / f"{name}.d.ts")}}
        for name, path in descriptions.items()
    }
    (directory / "redocly.yaml").write_text(json.dumps({"apis": apis}))
    run_without_warning("openapi-typescript", "--redocly", directory / "redocly.yaml")
    return directory


@pytest.fixture(scope="module")
def functions(descriptions: Mapping[Name, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What hey-api makes of both, in one process, too."""
    directory = tmp_path_factory.mktemp("functions")
    targets = [directory / name for name in descriptions]
    run_without_warning("openapi-ts", "--input", *descriptions.values(), "--output", *targets, "--no-log-file")
    return directory


def run_program(*command: object, where: Path = TOOLS, **environment: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = map(str, command)
    return subprocess.run(
        [PROGRAMS / program if (PROGRAMS / program).exists() else program, *arguments],
        cwd=where,
        env={**os.environ, **QUIET, **environment},
        text=True,
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )


def run_without_warning(*command: object, where: Path = TOOLS, **environment: str) -> str:
    """What a program says that must succeed, without a warning."""
    process = run_program(*command, where=where, **environment)
    output = process.stdout + process.stderr
    assert process.returncode == 0, output
    assert not re.search(r"⚠|\bwarn", output, re.IGNORECASE), output
    return output


@pytest.fixture(scope="module")
def programs(types: Path, functions: Path) -> Path:
    """Where the program that can be run is; both of the page were compiled by one process, which reads libraries once."""
    write_program("functions.ts", functions, TO_BE_BUNDLED)
    write_program("program.ts", types, TO_BE_RUN)
    run_without_warning("tsc", "--build", functions, types)
    return types


def write_program(name: str, directory: Path, options: Mapping[str, object]) -> None:
    """Write a program of the page, with the tools beside it and what it says of the compiler."""
    (text,) = re.findall(rf"^cat > {re.escape(name)} <<'TYPESCRIPT'\n(.*?)^TYPESCRIPT$", PAGE, re.DOTALL | re.MULTILINE)
    (directory / name).write_text(text)
    (directory / "package.json").write_text('{"type": "module"}')
    (directory / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": [name]}))
    (directory / "node_modules").symlink_to(TOOLS / "node_modules")


def test_spectral_finds_nothing_in_the_descriptions(descriptions: Mapping[Name, Path], tmp_path: Path):
    """Whether the examples have their schemas is what Redocly and tests/web/openapi/test_description.py look after."""
    rules = {"extends": [str(TOOLS / "spectral.yaml")], "rules": {"oas3-valid-media-example": "off"}}
    ruleset = tmp_path / "spectral.json"
    ruleset.write_text(json.dumps(rules))

    run_without_warning("spectral", "lint", "--ruleset", ruleset, "--fail-severity", "hint", *descriptions.values())


def test_redocly_finds_nothing_in_the_descriptions(descriptions: Mapping[Name, Path]):
    process = run_program("redocly", "lint", "--config", "redocly.yaml", *descriptions.values())

    output = process.stdout + process.stderr
    assert "Your API descriptions are valid" in output
    assert not re.search(r"You have \d+ \w+", output), output  # it warns of old versions of Node.js, too


def test_openapi_typescript_and_hey_api_take_both_descriptions_without_a_warning(types: Path, functions: Path):
    assert {"paperclip.d.ts", "jetty.d.ts"} <= {path.name for path in types.iterdir()}
    assert {"paperclip", "jetty"} <= {path.name for path in functions.iterdir()}


def test_the_programs_are_type_correct_and_the_one_that_can_be_run_closes_the_issue_of_its_run(
    programs: Path, api: Api
):
    """So a body needs no more fields than those that are required, though others have defaults."""
    output = run_without_warning(
        "node", "program.js", where=programs, PAPERCLIP_API_URL=api.url, PAPERCLIP_API_KEY=api.token
    )

    assert "Europe/Amsterdam" in output
    assert output.endswith("the run is completed\n")
