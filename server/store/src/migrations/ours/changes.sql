-- Ours: what each revision changed, so that other servers read that alone; and the revision at which anything
-- in a namespace changed last. Instants are microseconds since the Unix epoch.
CREATE TABLE changes (
  environment_key VARCHAR(255) NOT NULL,
  revision BIGINT NOT NULL,
  position INTEGER NOT NULL,
  kind VARCHAR(32) NOT NULL,
  action VARCHAR(32) NOT NULL,
  namespace_key VARCHAR(255) NOT NULL,
  resource_key VARCHAR(255) NOT NULL,
  changed_at BIGINT NOT NULL,
  PRIMARY KEY (environment_key, revision, position)
);
ALTER TABLE namespaces ADD COLUMN state_revision BIGINT DEFAULT 0 NOT NULL;

-- The last instant that a write gave out: clocks of servers differ, and the order of creation is the order of lists.
ALTER TABLE environments ADD COLUMN written_at BIGINT DEFAULT 0 NOT NULL;

-- Deleting a variant looks for flags that have it as their default.
CREATE INDEX flags_default_variant ON flags (default_variant_id);
