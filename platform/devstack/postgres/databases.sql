-- Beside the platform's own database, which the image makes; run once, on an empty volume.
CREATE DATABASE dagster;
CREATE DATABASE nessie;
