-- Layout 2 of a service's schema: entries of the journal have a time of their own, unless their
-- correlation id contains it. Other programs choose correlation ids, of any version and time.
ALTER TABLE journal ADD COLUMN at bigint;
UPDATE journal SET at = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
    WHERE substr(story::text, 15, 1) <> '7' OR replace(story::text, '-', '')
        > lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0');
CREATE INDEX journal_at ON journal(at) WHERE at IS NOT NULL;
