"""What a database holds, said so that two of them can be compared: one when it is backed up, one when it is restored.

Every table's rows are counted, and hashed without an order. A hash of all rows is a sum of the hashes of each, so
that no sort is needed; the text of a row is the same wherever the same settings are in force, and `SETTINGS` are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import JsonValue

__all__ = ["SETTINGS", "Depth", "differences", "facts_of"]

Depth = Literal["hash", "rows", "none"]

SETTINGS: Mapping[str, str] = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "search_path": "",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "row_security": "off",
}

_OURS = (
    "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d "
    "WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')"
)
_TABLES = (
    "SELECT coalesce(json_agg(format('%I.%I', n.nspname, c.relname) ORDER BY 1), '[]') FROM pg_class AS c "  # noqa: S608
    "JOIN pg_namespace AS n ON n.oid = c.relnamespace "
    f"WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND {_OURS}"
)
_KINDS = (
    "SELECT coalesce(json_object_agg(relkind, number), '{}') FROM (SELECT c.relkind, count(*) AS number "  # noqa: S608
    "FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
    "LEFT JOIN pg_index AS i ON i.indexrelid = c.oid "
    f"WHERE c.relkind IN ('r','p','i','I','S','v','m') AND coalesce(i.indisvalid OR c.relkind = 'I', true) AND {_OURS} "
    "GROUP BY 1) AS kinds"
)
_FUNCTIONS = (
    "SELECT to_json(count(*)) FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace "
    "WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM pg_depend AS d "
    "WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')"
)
_ROW_HASH = "coalesce(sum(('x' || substr(md5(ROW(tskrmn.*)::text), 1, 16))::bit(64)::bigint::numeric), 0)::text"
_OBJECTS = "SELECT json_build_object('rows', count(*)) FROM pg_largeobject_metadata"
_OBJECTS_HASH = (
    # Objects of more than 256 MiB do not fit into a value, and are counted only.
    "SELECT json_build_object('rows', count(*), 'hash', coalesce(sum(('x' || substr(md5(m.oid || '-' || "
    "md5(lo_get(m.oid))), 1, 16))::bit(64)::bigint::numeric) FILTER (WHERE coalesce((SELECT max(pageno) FROM "
    "pg_largeobject AS l WHERE l.loid = m.oid), 0) < 131072), 0)::text) FROM pg_largeobject_metadata AS m"
)
_READS_OBJECTS = "SELECT to_json(has_table_privilege('pg_largeobject', 'SELECT'))"


def facts_of(ask: Callable[[str], str], depth: Depth) -> dict[str, Any]:
    """What the database behind `ask` holds, in the transaction that is open there."""
    if depth == "none":
        return {}
    tables: dict[str, Any] = {}
    for name in json.loads(ask(_TABLES)):
        what = f"'rows', count(*), 'hash', {_ROW_HASH}" if depth == "hash" else "'rows', count(*)"
        tables[name] = json.loads(ask(f"SELECT json_build_object({what}) FROM ONLY {name} AS tskrmn"))  # noqa: S608
    hashes_objects = depth == "hash" and json.loads(ask(_READS_OBJECTS))
    return {
        "tables": tables,
        "kinds": json.loads(ask(_KINDS)),
        "functions": json.loads(ask(_FUNCTIONS)),
        "objects": json.loads(ask(_OBJECTS_HASH if hashes_objects else _OBJECTS)),
    }


def depth_of(noted: Mapping[str, Any]) -> Depth:
    """How deep these facts go, so that others can be gathered to compare."""
    if not noted:
        return "none"
    everything = [*noted.get("tables", {}).values(), noted.get("objects", {})]
    return "hash" if any("hash" in each for each in everything) else "rows"


def differences(noted: Mapping[str, JsonValue], found: Mapping[str, JsonValue]) -> list[str]:
    """What is not as it was noted, a line each; the first hundred."""
    said: list[str] = []
    tables_noted, tables_found = _mapping(noted.get("tables")), _mapping(found.get("tables"))
    for name in sorted({*tables_noted, *tables_found}):
        before, after = _mapping(tables_noted.get(name)), _mapping(tables_found.get(name))
        if not after:
            said.append(f"the table {name} is missing")
        elif not before:
            said.append(f"there is a table {name}, which was not noted")
        elif why := _unlike(before, after):
            said.append(f"the table {name} {why}")
    for what in ("kinds", "functions"):
        if noted.get(what) != found.get(what):
            said.append(f"{what}: {found.get(what)} instead of {noted.get(what)}")
    if why := _unlike(_mapping(noted.get("objects")), _mapping(found.get("objects"))):
        said.append(f"the large objects: {why}")
    return said[:100]


def _unlike(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if before.get("rows") != after.get("rows"):
        return f"has {after.get('rows')} rows instead of {before.get('rows')}"
    if "hash" in before and before["hash"] != after.get("hash"):
        return f"has {before.get('rows')} rows, as noted, with another content"
    return ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
