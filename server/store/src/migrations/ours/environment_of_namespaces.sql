-- Ours: environments as a layer above namespaces, and the revision at which each resource last changed.
--
-- The key of a namespace's row is the namespace's own key in the default environment, and
-- `<environment>/<namespace>` in every other one (a key cannot contain a slash), so that every table that
-- refers to namespaces stays as it is.
ALTER TABLE environments ADD COLUMN name VARCHAR(255) DEFAULT '' NOT NULL;
ALTER TABLE namespaces ADD COLUMN environment_key VARCHAR(255) DEFAULT 'default' NOT NULL;
ALTER TABLE namespaces ADD COLUMN revision BIGINT DEFAULT 0 NOT NULL;
ALTER TABLE flags ADD COLUMN revision BIGINT DEFAULT 0 NOT NULL;
ALTER TABLE segments ADD COLUMN revision BIGINT DEFAULT 0 NOT NULL;
CREATE INDEX namespaces_environment ON namespaces (environment_key);
