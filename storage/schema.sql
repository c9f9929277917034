-- Placeholder until the schema arrives.
CREATE TABLE clock (position bigint NOT NULL);
COMMENT ON TABLE clock IS 'The one counter.';
