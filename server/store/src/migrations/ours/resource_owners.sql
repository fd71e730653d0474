-- Ours: which object of a cluster owns a namespace, flag or segment, and the override of an owned flag. A namespace has
-- an empty resource_key; namespace_key is that of the namespace's row, and so unique beyond environments. Claims do not
-- refer to what they are about: they outlive its deletion, which their owner is to notice. Instants are microseconds
-- since the Unix epoch; an override_until of 0 means that no override is in force.
CREATE TABLE resource_owners (
  environment_key VARCHAR(255) NOT NULL,
  namespace_key VARCHAR(255) NOT NULL,
  kind VARCHAR(16) NOT NULL,
  resource_key VARCHAR(255) NOT NULL,
  owner_cluster VARCHAR(255) NOT NULL,
  owner_namespace VARCHAR(255) NOT NULL,
  owner_name VARCHAR(255) NOT NULL,
  owner_uid VARCHAR(255) NOT NULL,
  generation BIGINT NOT NULL,
  written_hash VARCHAR(64) NOT NULL,
  ui_editable VARCHAR(255) NOT NULL,
  override_enabled BOOLEAN DEFAULT FALSE NOT NULL,
  override_owner_enabled BOOLEAN DEFAULT FALSE NOT NULL,
  override_user VARCHAR(255) DEFAULT '' NOT NULL,
  override_reason VARCHAR(1000) DEFAULT '' NOT NULL,
  override_until BIGINT DEFAULT 0 NOT NULL,
  claimed_at BIGINT NOT NULL,
  seen_at BIGINT NOT NULL,
  PRIMARY KEY (namespace_key, kind, resource_key)
);
CREATE INDEX resource_owners_environment ON resource_owners (environment_key);
CREATE INDEX resource_owners_cluster ON resource_owners (owner_cluster);
CREATE INDEX resource_owners_override ON resource_owners (override_until);

-- How many claims there are, so that a write where nothing is owned asks for none.
ALTER TABLE environments ADD COLUMN claims BIGINT DEFAULT 0 NOT NULL;
