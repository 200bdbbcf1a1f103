CREATE SEQUENCE IF NOT EXISTS mcpoauth_revision;
CREATE TABLE IF NOT EXISTS mcpoauth_records (
	key        text COLLATE "C" PRIMARY KEY, -- store.Key.Digest
	kind       text        NOT NULL,
	id         bytea       NOT NULL,
	profile    bytea       NOT NULL,
	revision   bigint      NOT NULL,
	data       bytea       NOT NULL,
	saved_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
	expires_at timestamptz
);
CREATE INDEX IF NOT EXISTS mcpoauth_records_profile ON mcpoauth_records (profile, key);
CREATE INDEX IF NOT EXISTS mcpoauth_records_expiry ON mcpoauth_records (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS mcpoauth_locks (
	name       text PRIMARY KEY,
	owner      text        NOT NULL,
	expires_at timestamptz NOT NULL
);
