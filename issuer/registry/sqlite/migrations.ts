/** Steps of the schema, by number: step n makes version n out of version n - 1. A published step is never edited. */
export const migrations: readonly string[] = [
  // 1: clients, secrets, signing keys, audit.
  `
  CREATE TABLE clients (
    -- AUTOINCREMENT: a number is never used again, so a token of a deleted registration never meets a later one.
    registration INTEGER PRIMARY KEY AUTOINCREMENT,
    client_id TEXT NOT NULL UNIQUE,
    name TEXT,
    scope TEXT NOT NULL,
    audience TEXT NOT NULL,
    auth_method TEXT NOT NULL,
    grant_types TEXT NOT NULL,
    client_group TEXT,
    labels TEXT NOT NULL,
    metadata TEXT NOT NULL,
    token_lifetime_seconds INTEGER,
    supertokens TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE client_secrets (
    registration INTEGER NOT NULL REFERENCES clients (registration) ON DELETE CASCADE,
    slot INTEGER NOT NULL CHECK (slot IN (0, 1)),
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (registration, slot)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY,
    algorithm TEXT NOT NULL,
    public_jwk TEXT NOT NULL,
    encrypted_private_jwk BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'retired')),
    created_at_ms INTEGER NOT NULL,
    retired_at_ms INTEGER
  ) STRICT;
  -- Two processes on one database never make two active keys.
  CREATE UNIQUE INDEX one_active_signing_key ON signing_keys (state) WHERE state = 'active';

  CREATE TABLE audit (
    sequence INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    address TEXT,
    action TEXT NOT NULL,
    target TEXT,
    result TEXT NOT NULL,
    request_id TEXT,
    token_id TEXT
  ) STRICT;
  CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
  BEGIN
    SELECT RAISE(ABORT, 'audit rows are never changed');
  END;
  `,
];
