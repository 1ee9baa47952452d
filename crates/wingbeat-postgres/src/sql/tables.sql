-- Layout 1 of a service's schema.
CREATE TABLE record(
    tbl text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL, version bigint NOT NULL,
    -- NULL if the record was removed. The row stays for a while, so that a new record with this id
    -- continues the versions.
    body bytea, due_at bigint, expires_at bigint, lease_until bigint,
    PRIMARY KEY (tbl, id)) WITH (fillfactor = 70);
CREATE INDEX record_due ON record(due_at) WHERE due_at IS NOT NULL;
CREATE INDEX record_expires ON record(expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE history(
    tbl text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL, seq bigint NOT NULL,
    at bigint NOT NULL, body bytea NOT NULL, PRIMARY KEY (tbl, id, seq));
CREATE TABLE view_row(
    view text COLLATE "C" NOT NULL, key text COLLATE "C" NOT NULL,
    columns jsonb NOT NULL, body bytea NOT NULL, -- [[column, value], …]
    PRIMARY KEY (view, key)) WITH (fillfactor = 70);
CREATE TABLE view_index(
    view text COLLATE "C" NOT NULL, col text COLLATE "C" NOT NULL, value text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL, PRIMARY KEY (view, col, value, key));
-- The key begins with the id, which sorts by time. `at` is set only if the id does not contain the
-- time.
CREATE TABLE inbox(
    id uuid NOT NULL, scope text COLLATE "C" NOT NULL, unit uuid, at bigint,
    PRIMARY KEY (id, scope));
CREATE INDEX inbox_at ON inbox(at) WHERE at IS NOT NULL;
CREATE TABLE outbox(
    place bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY, id uuid NOT NULL,
    kind text NOT NULL, body bytea NOT NULL, lease_until bigint)
    WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01);
CREATE TABLE journal(
    story uuid NOT NULL, place bigint GENERATED ALWAYS AS IDENTITY, body bytea NOT NULL,
    PRIMARY KEY (story, place));
-- A counter has several rows, so that replicas do not wait for each other.
CREATE TABLE counter(
    name text COLLATE "C" NOT NULL, lane smallint NOT NULL, value bigint NOT NULL,
    PRIMARY KEY (name, lane)) WITH (fillfactor = 50);
