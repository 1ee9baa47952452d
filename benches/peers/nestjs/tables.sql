-- The tables of the naive version: three services on one database, without outbox and inbox.
CREATE TABLE orders(id text PRIMARY KEY, sku text NOT NULL, quantity int NOT NULL, amount int NOT NULL, status text NOT NULL);
CREATE TABLE stock(sku text PRIMARY KEY, available bigint NOT NULL, reserved bigint NOT NULL);
CREATE TABLE payments(order_id text PRIMARY KEY, amount int NOT NULL);
INSERT INTO stock SELECT 'sku-' || lpad(n::text, 4, '0'), 1000000000, 0 FROM generate_series(0, 999) AS n;
