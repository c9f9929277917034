"""What a database consists of, as lines of text: two databases are alike when these are equal."""

_PARTS = {
    "relation": """
        SELECT format('%s %s %s %s', c.relkind, c.relname, c.relpersistence, c.reloptions) FROM pg_class c
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind <> 'i'
    """,
    "column": """
        SELECT format('%s.%s %s%s%s%s%s storage=%s collation=%s statistics=%s',
                      c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
                      CASE WHEN a.attnotnull THEN ' not null' END,
                      ' default ' || pg_get_expr(d.adbin, d.adrelid),
                      ' identity ' || nullif(a.attidentity::text, ''),
                      ' generated ' || nullif(a.attgenerated::text, ''),
                      a.attstorage, a.attcollation::regcollation, a.attstattarget)
          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
          LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind <> 'i' AND a.attnum > 0 AND NOT a.attisdropped
    """,
    "index": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "constraint": """
        SELECT format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
         WHERE connamespace = 'public'::regnamespace
    """,
    "sequence": """
        SELECT format('%s %s %s %s %s', sequencename, data_type, start_value, increment_by, cycle) FROM pg_sequences
         WHERE schemaname = 'public'
    """,
    "view": "SELECT format('%s %s', viewname, definition) FROM pg_views WHERE schemaname = 'public'",
    "function": """
        SELECT pg_get_functiondef(oid) FROM pg_proc
         WHERE pronamespace = 'public'::regnamespace AND prokind IN ('f', 'p')
           AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
    """,
    "trigger": "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
    "type": """
        SELECT format('%s %s %s', typname, typtype, (SELECT array_agg(enumlabel ORDER BY enumsortorder)
                                                       FROM pg_enum WHERE enumtypid = t.oid))
          FROM pg_type t WHERE typnamespace = 'public'::regnamespace AND typtype IN ('d', 'e', 'r')
    """,
    "extension": "SELECT extname FROM pg_extension",
    "statistics": """
        SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext WHERE stxnamespace = 'public'::regnamespace
    """,
    "comment": """
        SELECT format('%s: %s', pg_describe_object(classoid, objoid, objsubid), description) FROM pg_description
         WHERE classoid IN ('pg_class'::regclass, 'pg_constraint'::regclass, 'pg_type'::regclass)
           AND pg_describe_object(classoid, objoid, objsubid) !~ ' (pg_catalog|information_schema)[.]'
           AND objoid >= 16384
    """,
}


async def catalogue(conn):
    """All parts of the schema `public`, sorted; the order of columns is no part of it."""
    lines = []
    for kind, query in _PARTS.items():
        lines += [f"{kind} {row[0]}" for row in await conn.fetch(query)]
    return sorted(lines)


async def contents(conn):
    """The rows that a fresh schema starts with, by table."""
    tables = await conn.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
    )
    found = {}
    for (table,) in tables:
        if table != "schema_version":
            rows = await conn.fetch(f'SELECT to_jsonb(t)::text FROM "{table}" t ORDER BY 1')
            found[table] = [row[0] for row in rows]
    return found
