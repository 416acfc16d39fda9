"""What the pages name is there: files, parts of pages, targets of make; and every page and folder is named."""

import re

import pytest

NAMED = re.compile(r"`((?:\w+/)+[\w.]*)(?:::(\w+))?`")
NO_PATHS = ("NNNN", "application/json")  # the number of a migration that somebody adds; a type of content
LINK = re.compile(r"\]\((?!\w+:)([^)#]*)(?:#([^)]+))?\)")
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
TARGETS = re.compile(r"`make ([a-z-]+)")
TREE = re.compile(r"^    domain/ .*?(?=^\S)", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"[\w/-]+\.(?:py|sql|csv|md)\b")
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/**/*.md", "docs/**/*.md")


@pytest.fixture(scope="module")
def pages(root):
    """The text of each page, without the code in it."""
    return {page.resolve(): CODE.sub("", page.read_text()) for pattern in PAGES for page in root.glob(pattern)}


@pytest.fixture(params=["CONTRIBUTING.md", "SECURITY.md", "docs/architecture.md", "docs/decisions/README.md"])
def page(root, request):
    return root / request.param


@pytest.fixture
def tree(root):
    """The folders of the tree of the architecture, each with what is said of it."""
    folders, top, current = {}, "", []
    for line in TREE.search((root / "docs/architecture.md").read_text())[0].splitlines():
        if names := re.match(r" {4}(\w+/)", line):
            top, current = names[1], [names[1]]
        elif names := re.match(r" {6}((?:\w+/ *)+)", line):
            current = [f"{top}{name}" for name in re.findall(r"\w+/", names[1])]
        for folder in current:
            folders[folder] = folders.get(folder, "") + line[names.end() if names else 0 :] + "\n"
    return folders


def anchors_of(text):
    headings = (re.sub(r"\]\([^)]*\)", "", heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE))
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_a_link_leads_to_a_file_and_a_part_of_it_that_are_there(root, pages):
    dead = [
        f"{page}: {path}{'#' * bool(anchor)}{anchor}"
        for page, text in pages.items()
        for path, anchor in LINK.findall(text)
        for linked in [(page.parent / path).resolve() if path else page]
        if not linked.exists() or (anchor and anchor not in anchors_of(pages[linked]))
    ]

    assert [] == dead
    assert len(pages) > 90


def test_every_page_of_the_documentation_is_in_its_index(root, pages):
    linked = {path for path, _ in LINK.findall(pages[(root / "docs/README.md").resolve()])}

    assert set() == {page.name for page in (root / "docs").glob("*.md")} - linked - {"README.md"}


def test_a_file_and_a_test_in_it_that_a_page_names_are_there(root, pages):
    """Where a path begins with a folder of ours; what the changelog names was there at that time."""
    missing = [
        f"{page.name}: {path}{'::' * bool(name)}{name}"
        for page, text in pages.items()
        if page.name != "CHANGELOG.md"
        for path, name in NAMED.findall(text)
        if (root / path.split("/")[0] / "__init__.py").exists() and not any(text in path for text in NO_PATHS)
        if not (root / path).exists() or (name and f"def {name}(" not in (root / path).read_text())
    ]

    assert [] == missing


def test_a_file_that_the_tree_of_the_architecture_names_is_in_its_folder(root, tree):
    missing = [
        f"{folder}{file}"
        for folder, text in tree.items()
        for file in FILE.findall(text)
        if not any((root / base / file).exists() for base in (folder, *["", folder.split("/")[0]] * ("/" in file)))
    ]

    assert [] == missing


def test_the_tree_of_the_architecture_has_every_folder_of_code(root, tree):
    packages = {
        f"{init.parent.relative_to(root)}/" for level in ("*", "*/*") for init in root.glob(f"{level}/__init__.py")
    }
    unnamed = {
        package
        for package in packages
        if not package.startswith("tests/") and package not in tree
        for top, name in [re.findall(r"\w+/", package)[:2]]
        if name not in tree[top]
    }

    assert set() == unnamed
    assert [] == [folder for folder in tree if not (root / folder).is_dir()]


def test_a_target_of_make_that_a_page_names_is_there(root, page):
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))

    assert set() == set(TARGETS.findall(page.read_text())) - targets
