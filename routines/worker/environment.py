"""
Decides which variables of a collection or a routine a worker gives to its command: data, and nothing that chooses what code runs.

Whoever administers a collection or a routine writes its environment, but the machine of the worker belongs to somebody else. Shells,
loaders, interpreters and many tools read variables that make them run other programs, load other libraries, or send
data elsewhere. ORDERS lists those that glibc and sudo distrust, and those of common runtimes and tools. None of them is
taken from either unless the worker's operator allows it by name.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from domain.jetty.environment import is_variable

NOT_TAKEN = (
    "the {} environment has {}: programs take such variables for orders, so this worker does not set them. "
    "Remove them, or ask the worker's operator to allow them (--allow-env NAME)"
)
SHOWN = 10  # names that a message lists
SHOWN_LENGTH = 64  # characters of each of them


class Order(NamedTuple):
    """Variables that programs take for orders, whether in capitals or not, and the reason: which programs do what."""

    reason: str
    names: str  # one or more, with blanks between; `*` at the end or the start stands for any text


# docs/worker-environment.md shows these texts unchanged.
ORDERS = (
    Order(
        "the loader and the C library: they load other libraries, or files that these are told of",
        "LD_* DYLD_* _RLD* LDR_* GLIBC_* MALLOC_* SHLIB_PATH LIBPATH GCONV_PATH GETCONF_DIR LOCPATH NLSPATH PATH_LOCALE TZDIR",
    ),
    Order(
        "the C library and name look-ups: they send what is meant for one host to another",
        "RES_OPTIONS RESOLV_HOST_CONF HOSTALIASES LOCALDOMAIN NIS_PATH",
    ),
    Order(
        "where commands are looked for, and where a program finds its settings or puts its files",
        "PATH HOME PWD OLDPWD TMPDIR XDG_* SYSTEMD_*",
    ),
    Order(
        "shells: they run a file or a command as they start, or read words and names in another way",
        "BASH* FISH_* KSH_* ZSH_* SHELL SHELLOPTS ENV IFS PS0 PS1 PS2 PS3 PS4 PROMPT_COMMAND INPUTRC CDPATH GLOBIGNORE FPATH "
        "ZDOTDIR NULLCMD READNULLCMD TMPPREFIX POSIXLY_CORRECT",
    ),
    Order(
        "terminals: descriptions that are read from a file, or text that a terminal obeys",
        "TERM TERMCAP TERMPATH TERMINFO*",
    ),
    Order(
        "programs that others start, with their settings: editors, pagers, browsers, and what asks for passwords",
        "EDITOR VISUAL PAGER MANPAGER BROWSER LESS LESSOPEN LESSCLOSE LESSKEY SUDO_EDITOR SUDO_ASKPASS VIMINIT EXINIT MYVIMRC "
        "GVIMINIT NVIM* FZF_* KUBE_EDITOR EMACSLOADPATH *_WRAPPER",
    ),
    Order(
        "tools that take options, scripts or hooks from it: version control, remote shells, copying, archives, text",
        "GIT_* SSH_* SVN_* RSYNC_* CVS_* DOCKER_* HGRCPATH HGEDITOR HGMERGE GREP_OPTIONS TAR_OPTIONS AWKPATH AWKLIBPATH "
        "MAGICK_CONFIGURE_PATH GS_OPTIONS GS_LIB TEXINPUTS TEXMF* GTK_* QT_* GIO_*",
    ),
    Order(
        "interpreters and their packages: they load modules, or run code as they start",
        "PERL* PYTHON* PYTEST_* PIP_* PIPENV_* POETRY_* UV_* CONDA_* VIRTUAL_ENV* IPYTHON* JUPYTER_* NODE_* NPM_* YARN_* PNPM_* "
        "BUN_* DENO_* TS_NODE_* ELECTRON_* RUBY* BUNDLE_* GEM_HOME GEM_PATH PHP_* PHPRC PHP_INI_SCAN_DIR LUA_* R_LIBS* "
        "R_PROFILE* R_ENVIRON* R_HOME JULIA_* ERL_* GUILE_* TCLLIBPATH OCAMLRUNPARAM CAML_LD_LIBRARY_PATH GHCRTS",
    ),
    Order(
        "virtual machines: options that load agents, profilers and classes",
        "JDK_* JAVA_* _JAVA_* CLASSPATH DOTNET_* CORECLR_* COMPLUS_* MONO_* COR_PROFILER COR_PROFILER_PATH "
        "COR_ENABLE_PROFILING",
    ),
    Order(
        "compilers and build tools: what they start, include, link and fetch",
        "CC CXX CPP AR AS LD CGO_CFLAGS CGO_LDFLAGS CFLAGS CXXFLAGS CPPFLAGS LDFLAGS CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH "
        "LIBRARY_PATH COMPILER_PATH GCC_EXEC_PREFIX MAKEFLAGS MFLAGS GNUMAKEFLAGS MAKEFILES CMAKE_* PKG_CONFIG* MSBUILD* "
        "COMPOSER_* MAVEN_* GRADLE_* SBT_* CARGO_* RUSTC_* RUSTUP_* RUSTFLAGS RUSTDOCFLAGS GOFLAGS GCCGO GOROOT GOPATH GOENV "
        "GOPROXY GOTOOLCHAIN",
    ),
    Order(
        "tools of operators: they load plugins, and find the machines and accounts that they work on",
        "ANSIBLE_* TF_* CLOUDSDK_* HELM_* VAULT_* KUBECONFIG AWS_ENDPOINT_URL* AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE",
    ),
    Order(
        "clients: which server they ask and which certificates they believe, so what they send goes elsewhere",
        "*_PROXY WGETRC NETRC CURL_HOME CURL_CA_BUNDLE REQUESTS_CA_BUNDLE HTTPLIB2_CA_CERTS AWS_CA_BUNDLE SSL_CERT_* OPENSSL_* "
        "GNUTLS_* SSLKEYLOGFILE GNUPGHOME KRB5* SASL_PATH LDAPCONF LDAPRC LDAPURI LDAPTLS_CACERT LDAPTLS_REQCERT PGSSL* "
        "PGSERVICE* PGPASSFILE PGSYSCONFDIR PGOPTIONS PGGSSLIB MYSQL_HOME ODBCINI ODBCSYSINI",
    ),
    Order("the worker itself and what it tells its command", "ROUTINES_* JETTY_*"),
)
PATTERNS = tuple(name for order in ORDERS for name in order.names.split())
PREFIXES = tuple(name.removesuffix("*") for name in PATTERNS if name.endswith("*"))
SUFFIXES = tuple(name.removeprefix("*") for name in PATTERNS if name.startswith("*"))
NAMES = frozenset(PATTERNS)


class SortedVariables(NamedTuple):
    """The variables of a collection: those for the command, and the names of the others."""

    accepted: dict[str, str]
    refused: list[str]  # names of variables that could choose what code runs
    unusable: list[str]  # no process can have such a variable; the API no longer stores them


def sort_variables(variables: Mapping[str, str], allowed: Collection[str]) -> SortedVariables:
    """Sort the variables of a collection; the worker's operator has allowed the names in `allowed`."""
    result = SortedVariables({}, [], [])
    for name, value in variables.items():
        if not is_variable(name, value):
            result.unusable.append(name)
        elif name in allowed or not is_dangerous(name):
            result.accepted[name] = value
        else:
            result.refused.append(name)
    return result


def is_dangerous(name: str) -> bool:
    """Return whether some loader, interpreter or tool may take the variable for an order."""
    capitals = name.upper()
    return capitals in NAMES or capitals.startswith(PREFIXES) or capitals.endswith(SUFFIXES)


def list_names(names: Collection[str]) -> str:
    """Return the first names and the number of the others, for a message."""
    first = ", ".join(ascii(name[:SHOWN_LENGTH])[1:-1] for name in list(names)[:SHOWN])
    return f"{first} and {len(names) - SHOWN} more" if len(names) > SHOWN else first
