-- Commits groups of units, each group all or nothing. Returns the groups that were refused, and why: `stale`,
-- something it read has changed; `known`, it or its delivery was here before. And where its messages lie: they are
-- claimed for so many microseconds if there is a lease.
--
-- Locks come in the order advisory, rows, views, inbox, counters, each sorted. Every statement sees what was
-- committed before it began (READ COMMITTED), so what a lock waited for is seen by the next one.
CREATE OR REPLACE FUNCTION {schema}.commit_v1(
    namespace int, lane_of_counters smallint,
    u_group int[], u_id uuid[], u_scope text[], u_unit uuid[], u_at bigint[],
    p_group int[], p_id uuid[], p_scope text[],
    k_tbl text[], k_id text[],
    r_group int[], r_tbl text[], r_id text[], r_version bigint[],
    w_group int[], w_tbl text[], w_id text[], w_steps bigint[], w_body bytea[], w_due bigint[], w_expires bigint[],
    h_group int[], h_tbl text[], h_id text[], h_last bigint[],
    a_group int[], a_tbl text[], a_id text[], a_seq bigint[], a_at bigint[], a_body bytea[],
    v_group int[], v_view text[], v_key text[], v_columns text[], v_body bytea[],
    o_group int[], o_id uuid[], o_kind text[], o_body bytea[],
    j_group int[], j_story uuid[], j_body bytea[],
    c_group int[], c_name text[], c_add bigint[],
    tombstone_until bigint, outbox_lease bigint,
    OUT stale int[], OUT known int[], OUT places bigint[], OUT placed uuid[])
LANGUAGE plpgsql AS $function$
DECLARE
    lanes int[] := '{}';
    refused int[] := '{}';
    late int[];
BEGIN
    stale := '{}'; known := '{}';
    -- What has nothing to do is left out: a small commit is mostly the overhead of its statements.
    IF k_tbl <> '{}' OR v_view <> '{}' THEN
        -- Absent keys have no row to lock.
        SELECT coalesce(array_agg(lane ORDER BY lane), '{}') INTO lanes FROM (
            SELECT DISTINCT hashtext(k.tbl || ' ' || k.id) & 1023 AS lane FROM unnest(k_tbl, k_id) AS k(tbl, id)
            WHERE NOT EXISTS (SELECT FROM {schema}.record c WHERE c.tbl = k.tbl AND c.id = k.id)
            UNION
            SELECT DISTINCT hashtext(n.view || ' ' || n.key) & 1023 FROM unnest(v_view, v_key) AS n(view, key)
            WHERE NOT EXISTS (SELECT FROM {schema}.view_row c WHERE c.view = n.view AND c.key = n.key)) AS absent;
        FOR at IN 1 .. cardinality(lanes) LOOP
            PERFORM pg_advisory_xact_lock(namespace, lanes[at]);
        END LOOP;
    END IF;
    IF k_tbl <> '{}' THEN
        PERFORM 1 FROM unnest(k_tbl, k_id) AS k(tbl, id) JOIN {schema}.record c ON c.tbl = k.tbl AND c.id = k.id
            ORDER BY c.tbl, c.id FOR NO KEY UPDATE OF c;
        -- Retention may have taken a row away between the two.
        IF EXISTS (SELECT FROM unnest(k_tbl, k_id) AS k(tbl, id)
            WHERE NOT EXISTS (SELECT FROM {schema}.record c WHERE c.tbl = k.tbl AND c.id = k.id)
              AND NOT ((hashtext(k.tbl || ' ' || k.id) & 1023) = ANY(lanes)))
        THEN
            RAISE EXCEPTION 'a record went away meanwhile' USING ERRCODE = 'serialization_failure';
        END IF;
    END IF;

    -- What was here before is known whatever has changed since. Scalar subqueries, since each goes along the index
    -- at any size: of EXISTS in an OR the planner makes a hash of the whole inbox, each time.
    SELECT coalesce(array_agg(DISTINCT grp), '{}') INTO known FROM (
        SELECT u.grp FROM unnest(u_group, u_id, u_scope, u_unit) AS u(grp, id, scope, unit)
        WHERE (SELECT true FROM {schema}.inbox b WHERE b.id = u.id AND b.scope = u.scope)
           OR (u.unit IS NOT NULL AND (SELECT true FROM {schema}.inbox b WHERE b.id = u.unit AND b.scope = ''))
        UNION ALL
        SELECT p.grp FROM unnest(p_group, p_id, p_scope) AS p(grp, id, scope)
        WHERE (SELECT true FROM {schema}.inbox b WHERE b.id = p.id AND b.scope = p.scope)) AS before;
    IF r_group <> '{}' OR h_group <> '{}' THEN
        SELECT coalesce(array_agg(DISTINCT grp), '{}') INTO stale FROM (
            SELECT r.grp FROM unnest(r_group, r_tbl, r_id, r_version) AS r(grp, tbl, id, version)
            WHERE r.version <> coalesce((SELECT c.version FROM {schema}.record c
                WHERE c.tbl = r.tbl AND c.id = r.id AND c.body IS NOT NULL), 0)
            UNION ALL
            SELECT h.grp FROM unnest(h_group, h_tbl, h_id, h_last) AS h(grp, tbl, id, last)
            WHERE h.last <> coalesce((SELECT max(e.seq) FROM {schema}.history e
                WHERE e.tbl = h.tbl AND e.id = h.id), 0)) AS changed
        WHERE NOT (grp = ANY(known));
    END IF;
    refused := stale || known;

    WITH remembered AS (
        INSERT INTO {schema}.inbox(id, scope, unit, at)
        SELECT u.id, u.scope, u.unit, u.at FROM unnest(u_group, u_id, u_scope, u_unit, u_at) AS u(grp, id, scope, unit, at)
        WHERE NOT (u.grp = ANY(refused)) ORDER BY u.id, u.scope
        ON CONFLICT DO NOTHING RETURNING id, scope)
    SELECT coalesce(array_agg(DISTINCT u.grp), '{}') INTO late
    FROM unnest(u_group, u_id, u_scope) AS u(grp, id, scope)
    WHERE NOT (u.grp = ANY(refused)) AND (SELECT count(*) FROM remembered) < cardinality(u_group)
      AND NOT EXISTS (SELECT FROM remembered m WHERE m.id = u.id AND m.scope = u.scope);
    IF late <> '{}' THEN
        -- Committed by somebody else while we waited for the key: take back the rest of its group.
        DELETE FROM {schema}.inbox b USING unnest(u_group, u_id, u_scope, u_unit) AS u(grp, id, scope, unit)
            WHERE u.grp = ANY(late) AND b.id = u.id AND b.scope = u.scope AND b.xmin = pg_current_xact_id()::xid;
        known := known || late;
        refused := refused || late;
    END IF;

    IF w_group <> '{}' THEN
        INSERT INTO {schema}.record AS c(tbl, id, version, body, due_at, expires_at)
            SELECT w.tbl, w.id, w.steps, w.body, w.due, w.expires
            FROM unnest(w_group, w_tbl, w_id, w_steps, w_body, w_due, w_expires) AS w(grp, tbl, id, steps, body, due, expires)
            WHERE w.body IS NOT NULL AND NOT (w.grp = ANY(refused)) ORDER BY w.tbl, w.id
            ON CONFLICT (tbl, id) DO UPDATE SET version = c.version + EXCLUDED.version, body = EXCLUDED.body,
                due_at = EXCLUDED.due_at, expires_at = EXCLUDED.expires_at, lease_until = NULL;
        IF array_position(w_body, NULL) IS NOT NULL THEN
            UPDATE {schema}.record c SET version = c.version + w.steps, body = NULL, due_at = NULL,
                    expires_at = tombstone_until, lease_until = NULL
                FROM unnest(w_group, w_tbl, w_id, w_steps, w_body) AS w(grp, tbl, id, steps, body)
                WHERE w.body IS NULL AND NOT (w.grp = ANY(refused)) AND c.tbl = w.tbl AND c.id = w.id AND c.body IS NOT NULL;
        END IF;
    END IF;
    IF a_group <> '{}' THEN
        INSERT INTO {schema}.history(tbl, id, seq, at, body)
            SELECT a.tbl, a.id, a.seq, a.at, a.body
            FROM unnest(a_group, a_tbl, a_id, a_seq, a_at, a_body) AS a(grp, tbl, id, seq, at, body)
            WHERE NOT (a.grp = ANY(refused));
    END IF;
    IF v_group <> '{}' THEN
        PERFORM 1 FROM unnest(v_view, v_key) AS n(view, key)
            JOIN {schema}.view_row c ON c.view = n.view AND c.key = n.key ORDER BY c.view, c.key FOR NO KEY UPDATE OF c;
        -- In a step of its own, so that the index is searched by all four of its columns: joined by view and key alone,
        -- each row would read the index of the whole view.
        WITH old AS MATERIALIZED (
            SELECT c.view, o.pair ->> 0 AS col, o.pair ->> 1 AS value, c.key
            FROM unnest(v_group, v_view, v_key, v_columns) AS n(grp, view, key, columns)
            JOIN {schema}.view_row c ON c.view = n.view AND c.key = n.key,
            LATERAL jsonb_array_elements(c.columns) AS o(pair)
            WHERE NOT (n.grp = ANY(refused))
              AND NOT EXISTS (SELECT FROM jsonb_array_elements(n.columns::jsonb) AS x(pair) WHERE x.pair = o.pair))
        DELETE FROM {schema}.view_index i USING old
            WHERE i.view = old.view AND i.col = old.col AND i.value = old.value AND i.key = old.key;
        DELETE FROM {schema}.view_row c USING unnest(v_group, v_view, v_key, v_body) AS n(grp, view, key, body)
            WHERE n.body IS NULL AND NOT (n.grp = ANY(refused)) AND c.view = n.view AND c.key = n.key;
        INSERT INTO {schema}.view_row AS c(view, key, columns, body)
            SELECT n.view, n.key, n.columns::jsonb, n.body
            FROM unnest(v_group, v_view, v_key, v_columns, v_body) AS n(grp, view, key, columns, body)
            WHERE n.body IS NOT NULL AND NOT (n.grp = ANY(refused)) ORDER BY n.view, n.key
            ON CONFLICT (view, key) DO UPDATE SET columns = EXCLUDED.columns, body = EXCLUDED.body;
        INSERT INTO {schema}.view_index(view, col, value, key)
            SELECT n.view, o.pair ->> 0, o.pair ->> 1, n.key
            FROM unnest(v_group, v_view, v_key, v_columns, v_body) AS n(grp, view, key, columns, body),
            LATERAL jsonb_array_elements(n.columns::jsonb) AS o(pair)
            WHERE n.body IS NOT NULL AND NOT (n.grp = ANY(refused)) ON CONFLICT DO NOTHING;
    END IF;
    IF o_group <> '{}' THEN
        WITH put AS (
            INSERT INTO {schema}.outbox(id, kind, body, lease_until)
            SELECT o.id, o.kind, o.body, {now} + outbox_lease
            FROM unnest(o_group, o_id, o_kind, o_body) WITH ORDINALITY AS o(grp, id, kind, body, place)
            WHERE NOT (o.grp = ANY(refused)) ORDER BY o.place RETURNING place, id)
        SELECT array_agg(p.place), array_agg(p.id) INTO places, placed FROM put p WHERE outbox_lease IS NOT NULL;
    END IF;
    IF j_group <> '{}' THEN
        INSERT INTO {schema}.journal(story, body)
            SELECT j.story, j.body FROM unnest(j_group, j_story, j_body) WITH ORDINALITY AS j(grp, story, body, place)
            WHERE NOT (j.grp = ANY(refused)) ORDER BY j.place;
    END IF;
    IF c_group <> '{}' THEN
        INSERT INTO {schema}.counter AS c(name, lane, value)
            SELECT n.name, lane_of_counters, sum(n.add) FROM unnest(c_group, c_name, c_add) AS n(grp, name, add)
            WHERE NOT (n.grp = ANY(refused)) GROUP BY n.name ORDER BY n.name
            ON CONFLICT (name, lane) DO UPDATE SET value = c.value + EXCLUDED.value;
    END IF;
END
$function$;
