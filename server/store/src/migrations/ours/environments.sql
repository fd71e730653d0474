-- Ours, on top of Flipt's: the version of each environment's whole state, and the order of segments in a
-- rule. Only additions with defaults, so that a server of the version before keeps working beside this one.
CREATE TABLE environments (
  "key" VARCHAR(255) PRIMARY KEY NOT NULL,
  epoch VARCHAR(255) NOT NULL,
  revision BIGINT DEFAULT 0 NOT NULL
);

ALTER TABLE rule_segments ADD COLUMN position INTEGER DEFAULT 0 NOT NULL;
ALTER TABLE rollout_segment_references ADD COLUMN position INTEGER DEFAULT 0 NOT NULL;

-- Foreign keys are looked up from the parent's side on every delete and in every list.
CREATE INDEX rules_flag ON rules (namespace_key, flag_key);
CREATE INDEX rollouts_flag ON rollouts (namespace_key, flag_key);
CREATE INDEX constraints_segment ON constraints (namespace_key, segment_key);
CREATE INDEX rule_segments_segment ON rule_segments (namespace_key, segment_key);
CREATE INDEX rollout_segment_references_segment ON rollout_segment_references (namespace_key, segment_key);
CREATE INDEX distributions_rule ON distributions (rule_id);
CREATE INDEX distributions_variant ON distributions (variant_id);
CREATE INDEX rollout_segments_rollout ON rollout_segments (rollout_id);
