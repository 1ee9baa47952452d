-- Layout 3 of a service's schema: entries of the journal have a compact form, which earlier releases
-- cannot read. Those read `body`, which is a list without entries then.
ALTER TABLE journal ADD COLUMN packed bytea;
