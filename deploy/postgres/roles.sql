-- Written by `shop users`: the roles of the shop, for psql as a superuser, once.
-- The role `migrate` owns the schemas. A service may read and write the tables of its own
-- schema and nothing else; the gateway may read all of them, for the audit. `shop migrate`
-- grants those privileges. Passwords are files in the directory `secrets`.
\set ON_ERROR_STOP on
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
\set password `cat :secrets/store_password_migrate`
CREATE ROLE "migrate" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD :'password';
GRANT CONNECT, CREATE ON DATABASE :"DBNAME" TO "migrate";
\set password `cat :secrets/store_password_carts`
CREATE ROLE "carts" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD :'password';
GRANT CONNECT ON DATABASE :"DBNAME" TO "carts";
\set password `cat :secrets/store_password_catalog`
CREATE ROLE "catalog" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD :'password';
GRANT CONNECT ON DATABASE :"DBNAME" TO "catalog";
\set password `cat :secrets/store_password_identity`
CREATE ROLE "identity" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD :'password';
GRANT CONNECT ON DATABASE :"DBNAME" TO "identity";
\set password `cat :secrets/store_password_inventory`
CREATE ROLE "inventory" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD :'password';
GRANT CONNECT ON DATABASE :"DBNAME" TO "inventory";
\set password `cat :secrets/store_password_notifications`
CREATE ROLE "notifications" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD :'password';
GRANT CONNECT ON DATABASE :"DBNAME" TO "notifications";
\set password `cat :secrets/store_password_orders`
CREATE ROLE "orders" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD :'password';
GRANT CONNECT ON DATABASE :"DBNAME" TO "orders";
\set password `cat :secrets/store_password_payments`
CREATE ROLE "payments" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD :'password';
GRANT CONNECT ON DATABASE :"DBNAME" TO "payments";
\set password `cat :secrets/store_password_promotions`
CREATE ROLE "promotions" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD :'password';
GRANT CONNECT ON DATABASE :"DBNAME" TO "promotions";
\set password `cat :secrets/store_password_shipping`
CREATE ROLE "shipping" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD :'password';
GRANT CONNECT ON DATABASE :"DBNAME" TO "shipping";
\set password `cat :secrets/store_password_gateway`
CREATE ROLE "gateway" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD :'password';
GRANT CONNECT ON DATABASE :"DBNAME" TO "gateway";
