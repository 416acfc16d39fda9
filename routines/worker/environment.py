"""
Which variables of a collection a worker gives to its command: data, and nothing that chooses what code is run.

Whoever administers a collection writes its environment; the machine of the worker is somebody else's. Shells, loaders,
interpreters and many tools read variables that make them run other programs, load other libraries, or send what they
hold elsewhere. The names below are those that glibc and sudo distrust, and those of common runtimes and tools. None of
them is taken from a collection unless the worker's operator allows it by name.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from domain.jetty.environment import is_variable

SHOWN = 10  # names that a message lists
SHOWN_LENGTH = 64  # characters of each of them

# Whatever begins so, in capitals or not.
PREFIXES = (
    *("LD_", "DYLD_", "_RLD", "LDR_", "GLIBC_", "MALLOC_"),  # loaders and the C library
    *("BASH", "FISH_", "KSH_", "ZSH_", "GIT_", "SSH_", "SVN_", "RSYNC_", "CVS_", "DOCKER_", "SYSTEMD_", "XDG_"),
    *("PERL", "PYTHON", "PYTEST_", "PIP_", "PIPENV_", "POETRY_", "UV_", "CONDA_", "VIRTUAL_ENV", "IPYTHON", "JUPYTER_"),
    *("NODE_", "NPM_", "YARN_", "PNPM_", "BUN_", "DENO_", "TS_NODE_", "ELECTRON_", "RUBY", "BUNDLE_"),
    *("JDK_", "JAVA_", "_JAVA_", "MAVEN_", "GRADLE_", "SBT_", "DOTNET_", "CORECLR_", "COMPLUS_", "MONO_"),
    *("LUA_", "R_LIBS", "R_PROFILE", "R_ENVIRON", "JULIA_", "ERL_", "CARGO_", "RUSTC_", "RUSTUP_", "GUILE_"),
    *("PGSSL", "PGSERVICE", "SSL_CERT_", "OPENSSL_", "GNUTLS_", "KRB5", "TERMINFO", "TEXMF", "GTK_", "QT_", "GIO_"),
    *(
        "ANSIBLE_",
        "TF_",
        "CLOUDSDK_",
        "HELM_",
        "VAULT_",
        "AWS_ENDPOINT_URL",
        "FZF_",
        "NVIM",
        "PHP_",
    ),  # their plugins, hosts
    *("CMAKE_", "PKG_CONFIG", "MSBUILD", "COMPOSER_"),  # build tools: what they start and load
    *("ROUTINES_", "JETTY_"),  # ours
)
SUFFIXES = ("_PROXY", "_WRAPPER")
NAMES = frozenset(
    (  # noqa: SIM905 one a line is hard to read
        # shells, and what they leave to their children
        "PATH HOME SHELL SHELLOPTS ENV IFS PS0 PS1 PS2 PS3 PS4 PROMPT_COMMAND INPUTRC CDPATH GLOBIGNORE FPATH ZDOTDIR NULLCMD "
        "READNULLCMD TMPPREFIX POSIXLY_CORRECT PWD OLDPWD TMPDIR "
        # the C library
        "RES_OPTIONS RESOLV_HOST_CONF GCONV_PATH GETCONF_DIR HOSTALIASES LOCALDOMAIN LOCPATH NLSPATH PATH_LOCALE "
        "NIS_PATH TZDIR SHLIB_PATH LIBPATH TERM TERMCAP TERMPATH "
        # programs that others start
        "EDITOR VISUAL PAGER MANPAGER BROWSER LESS LESSOPEN LESSCLOSE LESSKEY SUDO_EDITOR SUDO_ASKPASS VIMINIT EXINIT MYVIMRC GVIMINIT KUBE_EDITOR "
        "GREP_OPTIONS TAR_OPTIONS WGETRC NETRC AWKPATH AWKLIBPATH TCLLIBPATH EMACSLOADPATH HGRCPATH HGEDITOR HGMERGE "
        "MAGICK_CONFIGURE_PATH GS_OPTIONS GS_LIB TEXINPUTS "
        # compilers, build tools, runtimes
        "CC CXX CPP AR AS LD CGO_CFLAGS CGO_LDFLAGS CFLAGS CXXFLAGS CPPFLAGS LDFLAGS CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH LIBRARY_PATH "
        "COMPILER_PATH GCC_EXEC_PREFIX MAKEFLAGS MFLAGS GNUMAKEFLAGS MAKEFILES CLASSPATH GOFLAGS GCCGO GOROOT GOPATH GOENV "
        "GOPROXY GOTOOLCHAIN RUSTFLAGS RUSTDOCFLAGS R_HOME OCAMLRUNPARAM CAML_LD_LIBRARY_PATH GHCRTS "
        "PHPRC PHP_INI_SCAN_DIR GEM_HOME GEM_PATH COR_PROFILER COR_PROFILER_PATH COR_ENABLE_PROFILING "
        # where tools find their servers and credentials
        "KUBECONFIG GNUPGHOME PGPASSFILE PGSYSCONFDIR PGOPTIONS PGGSSLIB AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE AWS_CA_BUNDLE REQUESTS_CA_BUNDLE HTTPLIB2_CA_CERTS "
        "CURL_HOME CURL_CA_BUNDLE SSLKEYLOGFILE LDAPCONF LDAPRC LDAPURI LDAPTLS_CACERT LDAPTLS_REQCERT MYSQL_HOME "
        "ODBCINI ODBCSYSINI SASL_PATH"
    ).split()
)


class Sorted(NamedTuple):
    """The variables of a collection, by what becomes of them."""

    taken: dict[str, str]
    refused: list[str]  # may choose what code is run
    unusable: list[str]  # no process can be given them; new ones are not stored


def sort(variables: Mapping[str, str], allowed: Collection[str]) -> Sorted:
    """`allowed` are the names that the worker's operator has allowed."""
    found = Sorted({}, [], [])
    for name, value in variables.items():
        if not is_variable(name, value):
            found.unusable.append(name)
        elif name in allowed or not is_dangerous(name):
            found.taken[name] = value
        else:
            found.refused.append(name)
    return found


def is_dangerous(name: str) -> bool:
    """Whether some loader, interpreter or tool may take it for an order."""
    capitals = name.upper()
    return capitals in NAMES or capitals.startswith(PREFIXES) or capitals.endswith(SUFFIXES)


def listed(names: Collection[str]) -> str:
    """The first of them, for a message."""
    first = ", ".join(ascii(name[:SHOWN_LENGTH])[1:-1] for name in list(names)[:SHOWN])
    return f"{first} and {len(names) - SHOWN} more" if len(names) > SHOWN else first
