"""
The connection class stands on uvicorn's, which promises nothing to subclasses: another uvicorn has to be read first.

What it does is tested from outside (tests/web/abuse); here only what it stands on.
"""

import ast
import hashlib
import inspect

import uvicorn
from uvicorn.protocols.http import flow_control, httptools_impl

from web.http import protocol

READ = "0.54.0"  # the uvicorn whose connection class was read last
DIGEST = "ea814cf42e50628d"
# What the class uses of uvicorn's and does not define itself.
USED = {
    *("client", "cycle", "flow", "headers", "loop", "parser", "pipeline", "scope", "server_state", "url"),
    "_unset_keepalive_if_required",
}
OF_CYCLE = {"keep_alive", "more_body", "response_complete", "response_started"}
WHAT_TO_DO = """
uvicorn's connection class is not the one of {read} that web/http/protocol.py was written for (this is {version}).
Read what has changed in uvicorn/protocols/http/httptools_impl.py and flow_control.py: the attributes in USED, the callbacks
that Connection overrides, when a cycle is complete. Mend protocol.py, see that tests/web/abuse passes, move the
bounds of uvicorn in pyproject.toml, and put version and digest ({digest}) here."""


def test_uvicorns_connection_class_is_the_one_that_was_read():
    text = inspect.getsource(httptools_impl) + inspect.getsource(flow_control)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]

    assert digest == DIGEST, WHAT_TO_DO.format(read=READ, version=uvicorn.__version__, digest=digest)


def test_what_is_used_of_uvicorn_is_written_down():
    (connection,) = (node for node in ast.parse(inspect.getsource(protocol.Connection)).body)
    attributes = [node for node in ast.walk(connection) if isinstance(node, ast.Attribute)]
    of_self = {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "self"}
    of_cycle = {node.attr for node in attributes if ast.unparse(node.value) == "self.cycle"}

    assert of_self - own_names(connection) == USED
    assert of_cycle == OF_CYCLE


def own_names(connection):
    """What the class defines: its methods, its constants, and what it assigns itself when it is made."""
    functions = {node.name: node for node in connection.body if isinstance(node, ast.FunctionDef)}
    constants = {ast.unparse(node.targets[0]) for node in connection.body if isinstance(node, ast.Assign)}
    stored = {
        node.attr
        for node in ast.walk(functions["__init__"])
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    return functions.keys() | constants | stored
