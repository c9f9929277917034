"""The architecture, as a test: imports point down, never in a circle; the core does no I/O."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
LAYERS = [
    "homeserver.core",
    "storage",
    "homeserver.services",
    "homeserver.web",
    "federation",
    "client_api",
    "homeserver.app",
    "sytest_compat",
]
PURE = ["homeserver.core", "federation.protocol"]
PURE_MAY_USE = {"attrs", "canonicaljson", "msgspec", "nacl", "orjson", "signedjson", "unpaddedbase64"}
NOT_PURE = {"asyncio", "os", "pathlib", "random", "secrets", "socket", "time"}  # of the stdlib
HOMES = {  # third-party library: the only places that may import it
    "asyncpg": ["storage"],
    "twisted": ["homeserver.app.edges"],
    "re2": ["homeserver.core.globs", "homeserver.core.application_service_files"],
    "yaml": ["homeserver.app.application_service_files"],
    "aiohttp": [
        "homeserver.web",
        "homeserver.app",
        "federation.transport",
        "homeserver.services.guarded_http",
        "homeserver.services.push_gateways",
        "homeserver.services.application_services",
        "homeserver.services.url_preview",
        "homeserver.services.sso.asking",
    ],
    "joserfc": ["homeserver.services.sso.oidc"],
}
REFUSED_NAMES = {"utils", "util", "helpers", "common", "base", "types", "misc"}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for top in ("homeserver", "storage", "federation", "client_api", "sytest_compat")
    for path in (ROOT / top).rglob("*.py")
}


def package(name, packages):
    return next((p for p in packages if f"{name}.".startswith(f"{p}.")), None)


def imports(module):
    names = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: write imports in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def own(name):
    """The module of ours that `import name` reads: itself, or the module that defines it."""
    return next((m for m in (name, name.rpartition(".")[0]) if m in MODULES), None)


IMPORTS = {m: imports(m) for m in MODULES}
GRAPH = {m: {o for n in names if (o := own(n))} - {m} for m, names in IMPORTS.items()}


def test_imports_point_down():
    up = [
        (m, used)
        for m, uses in GRAPH.items()
        for used in uses
        if (a := package(m, LAYERS)) and (b := package(used, LAYERS)) and LAYERS.index(b) > LAYERS.index(a)
    ]
    assert not up


def test_no_import_cycles():
    TopologicalSorter(GRAPH).prepare()  # raises CycleError


def test_libraries_have_homes():
    strays = [
        (m, name)
        for m, names in IMPORTS.items()
        for name in names
        if (homes := HOMES.get(name.split(".")[0])) and not package(m, homes)
    ]
    assert not strays


def test_one_import_path():
    full = [m for m, path in MODULES.items() if path.name == "__init__.py" and path.read_text().strip()]
    assert not full


def test_core_is_sans_io():
    allowed = (sys.stdlib_module_names - NOT_PURE) | PURE_MAY_USE
    impure = [
        (m, name)
        for m, names in IMPORTS.items()
        if package(m, PURE)
        for name in names
        if not package(name, PURE) and name.split(".")[0] not in allowed | _homed_in(m)
    ]
    assert not impure


def _homed_in(module):
    """Libraries whose one home this pure module is."""
    return {library for library, homes in HOMES.items() if module in homes}


def test_names_say_something():
    assert not [m for m in MODULES if m.rpartition(".")[2] in REFUSED_NAMES]
