-- Commits groups of units, each group completely or not at all. Returns the refused groups:
-- something that they read has changed, or one of their units or deliveries was committed before.
-- Also returns the messages of the other groups and their places in the outbox, if they are claimed
-- for `outbox_lease` microseconds.
--
-- Most of the cost of a small commit is the overhead of its statements. So there are few of them,
-- and those that have nothing to do are skipped. The function first assumes that nothing has
-- changed, and determines the refused groups only if that was wrong.
--
-- Locks are taken in the order lanes, records, inbox, counters, each class sorted. A lane is an
-- advisory lock on a number that the caller derives from a key. Lanes protect rows that may be
-- absent: records read as absent, histories, rows of views. Each statement sees what was committed
-- before it began (READ COMMITTED), so after a statement has waited for a lock, the next one sees
-- what the other transaction committed.
--
-- The first letter of an array parameter names its subject: u  inbox rows          r  records only
-- read      w  records read and found, to write h  last events         d  records to remove      n
-- records read as absent or not read, to write a  events              v  rows of views          o
-- messages j  journal entries     c  counters A version is 0 if the record was absent, and NULL if
-- no unit read it.
CREATE OR REPLACE FUNCTION {schema}.commit_v4(
    namespace int, lane_of_counters smallint, lanes int[],
    u_group int[], u_id uuid[], u_scope text[], u_unit uuid[], u_at bigint[],
    r_group int[], r_tbl text[], r_id text[], r_version bigint[],
    w_group int[], w_tbl text[], w_id text[], w_version bigint[], w_steps bigint[],
    w_body bytea[], w_due bigint[], w_expires bigint[],
    n_group int[], n_tbl text[], n_id text[], n_version bigint[], n_steps bigint[],
    n_body bytea[], n_due bigint[], n_expires bigint[],
    d_group int[], d_tbl text[], d_id text[], d_steps bigint[],
    h_group int[], h_tbl text[], h_id text[], h_last bigint[],
    a_group int[], a_tbl text[], a_id text[], a_seq bigint[], a_at bigint[], a_body bytea[],
    v_group int[], v_view text[], v_key text[], v_columns text[], v_body bytea[],
    o_group int[], o_id uuid[], o_kind text[], o_body bytea[],
    j_group int[], j_story uuid[], j_body bytea[], j_at bigint[],
    c_group int[], c_name text[], c_add bigint[],
    tombstone_until bigint, outbox_lease bigint,
    OUT refused int[], OUT places bigint[], OUT placed uuid[])
LANGUAGE plpgsql AS $function$
DECLARE
    to_write int := cardinality(w_id) + cardinality(n_id);
    -- The only write of a call validates its version itself.
    single boolean := to_write = 1 AND r_id = '{}' AND d_id = '{}';
    unchanged boolean;
    affected int;
    written int := 0;
BEGIN
    refused := '{}';
    FOR at IN 1 .. cardinality(lanes) LOOP
        PERFORM pg_advisory_xact_lock(namespace, lanes[at]);
    END LOOP;
    -- Scalar subqueries use the index at any table size. For EXISTS in an OR, the planner would
    -- hash the whole inbox each time.
    unchanged := NOT EXISTS (SELECT FROM unnest(u_id, u_scope, u_unit) AS u(id, scope, unit)
        WHERE (SELECT true FROM {schema}.inbox b WHERE b.id = u.id AND b.scope = u.scope)
           OR (SELECT true FROM {schema}.inbox b WHERE b.id = u.unit AND b.scope = ''));
    IF unchanged AND h_id <> '{}' THEN
        unchanged := NOT EXISTS (SELECT FROM unnest(h_tbl, h_id, h_last) AS h(tbl, id, last)
            WHERE h.last <> coalesce((SELECT max(e.seq) FROM {schema}.history e
                WHERE e.tbl = h.tbl AND e.id = h.id), 0));
    END IF;
    IF NOT single AND (to_write > 0 OR r_id <> '{}' OR d_id <> '{}') THEN
        SELECT unchanged AND count(*) FILTER (WHERE k.wanted <> k.version) = 0
           AND count(*) FILTER (WHERE k.wanted > 0)
               = (SELECT count(*) FROM unnest(r_version || w_version) AS v WHERE v > 0)
        INTO unchanged FROM (
            SELECT k.version AS wanted,
                CASE WHEN c.body IS NULL THEN 0 ELSE c.version END AS version
            FROM unnest(r_tbl || w_tbl || n_tbl || d_tbl, r_id || w_id || n_id || d_id,
                r_version || w_version || n_version) AS k(tbl, id, version)
            JOIN {schema}.record c ON c.tbl = k.tbl AND c.id = k.id
            ORDER BY c.tbl, c.id FOR NO KEY UPDATE OF c) AS k;
    END IF;

    LOOP
        IF NOT unchanged THEN
            -- Determines the refused groups, and removes them from the arrays. The record of a
            -- single write is not locked yet.
            PERFORM 1 FROM unnest(w_tbl || n_tbl, w_id || n_id) AS k(tbl, id)
                JOIN {schema}.record c ON c.tbl = k.tbl AND c.id = k.id
                ORDER BY c.tbl, c.id FOR NO KEY UPDATE OF c;
            SELECT coalesce(array_agg(DISTINCT grp), '{}') INTO refused FROM (
                SELECT u.grp FROM unnest(u_group, u_id, u_scope, u_unit) AS u(grp, id, scope, unit)
                WHERE (SELECT true FROM {schema}.inbox b WHERE b.id = u.id AND b.scope = u.scope)
                   OR (SELECT true FROM {schema}.inbox b WHERE b.id = u.unit AND b.scope = '')
                UNION ALL
                SELECT k.grp FROM unnest(r_group || w_group || n_group, r_tbl || w_tbl || n_tbl,
                    r_id || w_id || n_id, r_version || w_version || n_version)
                    AS k(grp, tbl, id, version)
                WHERE k.version <> coalesce((SELECT c.version FROM {schema}.record c
                    WHERE c.tbl = k.tbl AND c.id = k.id AND c.body IS NOT NULL), 0)
                UNION ALL
                SELECT h.grp FROM unnest(h_group, h_tbl, h_id, h_last) AS h(grp, tbl, id, last)
                WHERE h.last <> coalesce((SELECT max(e.seq) FROM {schema}.history e
                    WHERE e.tbl = h.tbl AND e.id = h.id), 0)) AS changed;
            SELECT array_agg(x.id), array_agg(x.scope), array_agg(x.unit), array_agg(x.at)
                INTO u_id, u_scope, u_unit, u_at
                FROM unnest(u_group, u_id, u_scope, u_unit, u_at) AS x(grp, id, scope, unit, at)
                WHERE NOT x.grp = ANY(refused);
            SELECT array_agg(x.tbl), array_agg(x.id), array_agg(x.version), array_agg(x.steps),
                    array_agg(x.body), array_agg(x.due), array_agg(x.expires)
                INTO w_tbl, w_id, w_version, w_steps, w_body, w_due, w_expires
                FROM unnest(w_group, w_tbl, w_id, w_version, w_steps, w_body, w_due, w_expires)
                    AS x(grp, tbl, id, version, steps, body, due, expires)
                WHERE NOT x.grp = ANY(refused);
            SELECT array_agg(x.tbl), array_agg(x.id), array_agg(x.version), array_agg(x.steps),
                    array_agg(x.body), array_agg(x.due), array_agg(x.expires)
                INTO n_tbl, n_id, n_version, n_steps, n_body, n_due, n_expires
                FROM unnest(n_group, n_tbl, n_id, n_version, n_steps, n_body, n_due, n_expires)
                    AS x(grp, tbl, id, version, steps, body, due, expires)
                WHERE NOT x.grp = ANY(refused);
            SELECT array_agg(x.tbl), array_agg(x.id), array_agg(x.steps) INTO d_tbl, d_id, d_steps
                FROM unnest(d_group, d_tbl, d_id, d_steps) AS x(grp, tbl, id, steps)
                WHERE NOT x.grp = ANY(refused);
            SELECT array_agg(x.tbl), array_agg(x.id), array_agg(x.seq), array_agg(x.at),
                    array_agg(x.body)
                INTO a_tbl, a_id, a_seq, a_at, a_body
                FROM unnest(a_group, a_tbl, a_id, a_seq, a_at, a_body)
                    AS x(grp, tbl, id, seq, at, body)
                WHERE NOT x.grp = ANY(refused);
            SELECT array_agg(x.view), array_agg(x.key), array_agg(x.columns), array_agg(x.body)
                INTO v_view, v_key, v_columns, v_body
                FROM unnest(v_group, v_view, v_key, v_columns, v_body)
                    AS x(grp, view, key, columns, body)
                WHERE NOT x.grp = ANY(refused);
            SELECT array_agg(x.id ORDER BY x.place), array_agg(x.kind ORDER BY x.place),
                    array_agg(x.body ORDER BY x.place)
                INTO o_id, o_kind, o_body
                FROM unnest(o_group, o_id, o_kind, o_body) WITH ORDINALITY
                    AS x(grp, id, kind, body, place)
                WHERE NOT x.grp = ANY(refused);
            SELECT array_agg(x.story ORDER BY x.place), array_agg(x.body ORDER BY x.place),
                    array_agg(x.at ORDER BY x.place)
                INTO j_story, j_body, j_at
                FROM unnest(j_group, j_story, j_body, j_at) WITH ORDINALITY
                    AS x(grp, story, body, at, place)
                WHERE NOT x.grp = ANY(refused);
            SELECT array_agg(x.name), array_agg(x.add) INTO c_name, c_add
                FROM unnest(c_group, c_name, c_add) AS x(grp, name, add)
                WHERE NOT x.grp = ANY(refused);
        END IF;
        IF w_id <> '{}' THEN
            UPDATE {schema}.record c SET version = c.version + w.steps, body = w.body,
                    due_at = w.due, expires_at = w.expires, lease_until = NULL
                FROM unnest(w_tbl, w_id, w_version, w_steps, w_body, w_due, w_expires)
                    AS w(tbl, id, version, steps, body, due, expires)
                WHERE c.tbl = w.tbl AND c.id = w.id AND c.version = w.version
                    AND c.body IS NOT NULL;
            GET DIAGNOSTICS affected = ROW_COUNT;
            written := written + affected;
        END IF;
        IF n_id <> '{}' THEN
            INSERT INTO {schema}.record AS c(tbl, id, version, body, due_at, expires_at)
                SELECT n.tbl, n.id, n.steps, n.body, n.due, n.expires
                FROM unnest(n_tbl, n_id, n_steps, n_body, n_due, n_expires)
                    AS n(tbl, id, steps, body, due, expires)
                ON CONFLICT (tbl, id) DO UPDATE SET version = c.version + EXCLUDED.version,
                    body = EXCLUDED.body, due_at = EXCLUDED.due_at,
                    expires_at = EXCLUDED.expires_at, lease_until = NULL
                    WHERE c.body IS NULL OR NOT single OR n_version[1] IS NULL;
            GET DIAGNOSTICS affected = ROW_COUNT;
            written := written + affected;
        END IF;
        EXIT WHEN NOT unchanged OR written = to_write;
        IF written > 0 THEN
            RAISE EXCEPTION 'a locked record has changed' USING ERRCODE = 'serialization_failure';
        END IF;
        unchanged := false;
    END LOOP;
    IF d_id <> '{}' THEN
        UPDATE {schema}.record c SET version = c.version + d.steps, body = NULL, due_at = NULL,
                expires_at = tombstone_until, lease_until = NULL
            FROM unnest(d_tbl, d_id, d_steps) AS d(tbl, id, steps)
            WHERE c.tbl = d.tbl AND c.id = d.id AND c.body IS NOT NULL;
    END IF;
    IF u_id <> '{}' THEN
        INSERT INTO {schema}.inbox(id, scope, unit, at)
            SELECT * FROM unnest(u_id, u_scope, u_unit, u_at) ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS affected = ROW_COUNT;
        IF affected < cardinality(u_id) THEN
            -- Another transaction inserted the row while this one waited for it.
            RAISE EXCEPTION 'another transaction has settled a delivery'
                USING ERRCODE = 'serialization_failure';
        END IF;
    END IF;
    IF a_id <> '{}' THEN
        INSERT INTO {schema}.history(tbl, id, seq, at, body)
            SELECT * FROM unnest(a_tbl, a_id, a_seq, a_at, a_body);
    END IF;
    IF v_key <> '{}' THEN
        -- Materialized, so that the deletion searches the index by all four of its columns. Joined
        -- by view and key alone, each row would scan the index of the whole view.
        WITH old AS MATERIALIZED (
            SELECT c.view, o.pair ->> 0 AS col, o.pair ->> 1 AS value, c.key
            FROM unnest(v_view, v_key, v_columns) AS n(view, key, columns)
            JOIN {schema}.view_row c ON c.view = n.view AND c.key = n.key,
            LATERAL jsonb_array_elements(c.columns) AS o(pair)
            WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(n.columns::jsonb) AS x(pair)
                WHERE x.pair = o.pair))
        DELETE FROM {schema}.view_index i USING old
            WHERE i.view = old.view AND i.col = old.col AND i.value = old.value AND i.key = old.key;
        IF array_position(v_body, NULL) IS NOT NULL THEN
            DELETE FROM {schema}.view_row c
                USING unnest(v_view, v_key, v_body) AS n(view, key, body)
                WHERE n.body IS NULL AND c.view = n.view AND c.key = n.key;
        END IF;
        INSERT INTO {schema}.view_row AS c(view, key, columns, body)
            SELECT n.view, n.key, n.columns::jsonb, n.body
            FROM unnest(v_view, v_key, v_columns, v_body) AS n(view, key, columns, body)
            WHERE n.body IS NOT NULL
            ON CONFLICT (view, key) DO UPDATE SET columns = EXCLUDED.columns, body = EXCLUDED.body;
        INSERT INTO {schema}.view_index(view, col, value, key)
            SELECT n.view, o.pair ->> 0, o.pair ->> 1, n.key
            FROM unnest(v_view, v_key, v_columns, v_body) AS n(view, key, columns, body),
            LATERAL jsonb_array_elements(n.columns::jsonb) AS o(pair)
            WHERE n.body IS NOT NULL ON CONFLICT DO NOTHING;
    END IF;
    -- Places are assigned in the order of the arrays.
    IF o_id <> '{}' THEN
        WITH put AS (
            INSERT INTO {schema}.outbox(id, kind, body, lease_until)
            SELECT o.id, o.kind, o.body, {now} + outbox_lease
            FROM unnest(o_id, o_kind, o_body) AS o(id, kind, body)
            RETURNING place, id)
        SELECT array_agg(p.place), array_agg(p.id) INTO places, placed
            FROM put p WHERE outbox_lease IS NOT NULL;
    END IF;
    IF j_story <> '{}' THEN
        INSERT INTO {schema}.journal(story, body, at)
            SELECT * FROM unnest(j_story, j_body, j_at);
    END IF;
    IF c_name <> '{}' THEN
        INSERT INTO {schema}.counter AS c(name, lane, value)
            SELECT n.name, lane_of_counters, sum(n.add) FROM unnest(c_name, c_add) AS n(name, add)
            GROUP BY n.name ORDER BY n.name
            ON CONFLICT (name, lane) DO UPDATE SET value = c.value + EXCLUDED.value;
    END IF;
END
$function$;
