-- The schema that Flipt v1.61.1 leaves behind (storage spec, section 4), in one step, on MySQL and MariaDB.
CREATE TABLE authentications (
  id VARCHAR(255) PRIMARY KEY NOT NULL,
  hashed_client_token VARCHAR(255) UNIQUE NOT NULL,
  method INTEGER DEFAULT 0 NOT NULL,
  metadata TEXT,
  expires_at TIMESTAMP(6) NULL DEFAULT NULL,
  created_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL,
  updated_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL
);
CREATE UNIQUE INDEX hashed_client_token_authentications_index ON authentications (hashed_client_token);

CREATE TABLE operation_lock (
  operation VARCHAR(255) PRIMARY KEY NOT NULL,
  version INTEGER DEFAULT 0 NOT NULL,
  last_acquired_at TIMESTAMP(6) NULL DEFAULT CURRENT_TIMESTAMP(6),
  acquired_until TIMESTAMP(6) NULL DEFAULT CURRENT_TIMESTAMP(6)
);

CREATE TABLE namespaces (
  "key" VARCHAR(255) PRIMARY KEY NOT NULL,
  name VARCHAR(255) NOT NULL,
  description TEXT NOT NULL,
  protected BOOLEAN DEFAULT FALSE NOT NULL,
  created_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL,
  updated_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL,
  state_modified_at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE flags (
  namespace_key VARCHAR(255) NOT NULL DEFAULT 'default',
  "key" VARCHAR(255) NOT NULL,
  name VARCHAR(255) NOT NULL,
  description TEXT NOT NULL,
  enabled BOOLEAN DEFAULT FALSE NOT NULL,
  type INTEGER DEFAULT 0 NOT NULL,
  metadata JSON,
  default_variant_id VARCHAR(255),
  created_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL,
  updated_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL,
  PRIMARY KEY (namespace_key, "key"),
  FOREIGN KEY (namespace_key) REFERENCES namespaces ("key") ON DELETE CASCADE
);

CREATE TABLE variants (
  id VARCHAR(255) PRIMARY KEY NOT NULL,
  namespace_key VARCHAR(255) NOT NULL DEFAULT 'default',
  flag_key VARCHAR(255) NOT NULL,
  "key" VARCHAR(255) NOT NULL,
  name VARCHAR(255) NOT NULL,
  description TEXT NOT NULL,
  attachment JSON,
  created_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL,
  updated_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL,
  UNIQUE (namespace_key, flag_key, "key"),
  FOREIGN KEY (namespace_key, flag_key) REFERENCES flags (namespace_key, "key") ON DELETE CASCADE,
  FOREIGN KEY (namespace_key) REFERENCES namespaces ("key") ON DELETE CASCADE
);

ALTER TABLE flags ADD CONSTRAINT flags_default_variant
  FOREIGN KEY (default_variant_id) REFERENCES variants (id) ON DELETE SET NULL;

CREATE TABLE segments (
  namespace_key VARCHAR(255) NOT NULL DEFAULT 'default',
  "key" VARCHAR(255) NOT NULL,
  name VARCHAR(255) NOT NULL,
  description TEXT NOT NULL,
  match_type INTEGER DEFAULT 0 NOT NULL,
  created_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL,
  updated_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL,
  PRIMARY KEY (namespace_key, "key"),
  FOREIGN KEY (namespace_key) REFERENCES namespaces ("key") ON DELETE CASCADE
);

CREATE TABLE constraints (
  id VARCHAR(255) PRIMARY KEY NOT NULL,
  namespace_key VARCHAR(255) NOT NULL DEFAULT 'default',
  segment_key VARCHAR(255) NOT NULL,
  type INTEGER DEFAULT 0 NOT NULL,
  property VARCHAR(255) NOT NULL,
  operator VARCHAR(255) NOT NULL,
  value TEXT NOT NULL,
  description TEXT,
  created_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL,
  updated_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL,
  FOREIGN KEY (namespace_key, segment_key) REFERENCES segments (namespace_key, "key") ON DELETE CASCADE,
  FOREIGN KEY (namespace_key) REFERENCES namespaces ("key") ON DELETE CASCADE
);

CREATE TABLE rules (
  id VARCHAR(255) PRIMARY KEY NOT NULL,
  namespace_key VARCHAR(255) NOT NULL DEFAULT 'default',
  flag_key VARCHAR(255) NOT NULL,
  "rank" INTEGER DEFAULT 1 NOT NULL,
  segment_operator INTEGER DEFAULT 0 NOT NULL,
  created_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL,
  updated_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL,
  FOREIGN KEY (namespace_key, flag_key) REFERENCES flags (namespace_key, "key") ON DELETE CASCADE,
  FOREIGN KEY (namespace_key) REFERENCES namespaces ("key") ON DELETE CASCADE
);

CREATE TABLE rule_segments (
  rule_id VARCHAR(255) NOT NULL,
  namespace_key VARCHAR(255) NOT NULL,
  segment_key VARCHAR(255) NOT NULL,
  UNIQUE (rule_id, namespace_key, segment_key),
  FOREIGN KEY (namespace_key, segment_key) REFERENCES segments (namespace_key, "key") ON DELETE RESTRICT,
  FOREIGN KEY (rule_id) REFERENCES rules (id) ON DELETE CASCADE
);

CREATE TABLE distributions (
  id VARCHAR(255) PRIMARY KEY NOT NULL,
  rule_id VARCHAR(255) NOT NULL,
  variant_id VARCHAR(255) NOT NULL,
  rollout float DEFAULT 0 NOT NULL,
  created_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL,
  updated_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL,
  FOREIGN KEY (rule_id) REFERENCES rules (id) ON DELETE CASCADE,
  FOREIGN KEY (variant_id) REFERENCES variants (id) ON DELETE CASCADE
);

CREATE TABLE rollouts (
  id VARCHAR(255) PRIMARY KEY NOT NULL,
  namespace_key VARCHAR(255) NOT NULL,
  flag_key VARCHAR(255) NOT NULL,
  type INTEGER DEFAULT 0 NOT NULL,
  description TEXT NOT NULL,
  "rank" INTEGER DEFAULT 1 NOT NULL,
  created_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL,
  updated_at TIMESTAMP(6) DEFAULT CURRENT_TIMESTAMP(6) NOT NULL,
  FOREIGN KEY (namespace_key, flag_key) REFERENCES flags (namespace_key, "key") ON DELETE CASCADE,
  FOREIGN KEY (namespace_key) REFERENCES namespaces ("key") ON DELETE CASCADE
);

CREATE TABLE rollout_thresholds (
  id VARCHAR(255) PRIMARY KEY NOT NULL,
  namespace_key VARCHAR(255) NOT NULL,
  rollout_id VARCHAR(255) UNIQUE NOT NULL,
  percentage float DEFAULT 0 NOT NULL,
  value BOOLEAN DEFAULT FALSE NOT NULL,
  FOREIGN KEY (namespace_key) REFERENCES namespaces ("key") ON DELETE CASCADE,
  FOREIGN KEY (rollout_id) REFERENCES rollouts (id) ON DELETE CASCADE
);

CREATE TABLE rollout_segments (
  id VARCHAR(255) PRIMARY KEY NOT NULL,
  rollout_id VARCHAR(255) NOT NULL,
  value BOOLEAN DEFAULT FALSE NOT NULL,
  segment_operator INTEGER DEFAULT 0 NOT NULL,
  FOREIGN KEY (rollout_id) REFERENCES rollouts (id) ON DELETE CASCADE
);

CREATE TABLE rollout_segment_references (
  rollout_segment_id VARCHAR(255) NOT NULL,
  namespace_key VARCHAR(255) NOT NULL,
  segment_key VARCHAR(255) NOT NULL,
  UNIQUE (rollout_segment_id, namespace_key, segment_key),
  FOREIGN KEY (namespace_key, segment_key) REFERENCES segments (namespace_key, "key") ON DELETE RESTRICT,
  FOREIGN KEY (rollout_segment_id) REFERENCES rollout_segments (id) ON DELETE CASCADE
);

INSERT INTO namespaces ("key", name, description, protected)
VALUES ('default', 'Default', 'Default namespace', TRUE);
