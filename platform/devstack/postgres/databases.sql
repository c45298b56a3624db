-- Beside the platform's own database, which the image makes; run by psql, once, on an empty volume.
CREATE DATABASE dagster;
CREATE DATABASE nessie;

-- Who may edit a panel in Grafana may send any statement. This user reads, and no more.
\set password `cat /run/secrets/grafana_postgres_password`
CREATE ROLE grafana LOGIN PASSWORD :'password' CONNECTION LIMIT 20;
GRANT pg_read_all_data TO grafana;
ALTER ROLE grafana SET default_transaction_read_only = on;
ALTER ROLE grafana SET statement_timeout = '30s';
