import { chainAudit } from './chain-audit.ts';
import type { Database } from './database.ts';

/** SQL, or what SQL cannot do. */
export type Migration = string | ((database: Database) => void);

/** Steps of the schema, by number: step n makes version n out of version n - 1. A published step is never edited. */
export const migrations: readonly Migration[] = [
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
  // 2: revocations.
  `
  CREATE TABLE revocations (
    -- AUTOINCREMENT: a number is never used again, so a reader that was told of a later one misses none.
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('token', 'client', 'issued_before', 'key')),
    token_id TEXT CHECK ((token_id IS NOT NULL) = (kind = 'token')),
    -- NULL for issued_before: all clients. No reference, since the tokens of a deleted client stay revoked.
    client_id TEXT CHECK (kind = 'issued_before' OR (client_id IS NOT NULL) = (kind = 'client')),
    key_id TEXT CHECK ((key_id IS NOT NULL) = (kind = 'key')),
    -- Seconds since 1970, as are all times of tokens.
    at INTEGER CHECK ((at IS NOT NULL) = (kind IN ('client', 'issued_before'))),
    created_at_ms INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX revocation_of_token ON revocations (token_id) WHERE token_id IS NOT NULL;
  CREATE UNIQUE INDEX revocation_of_key ON revocations (key_id) WHERE key_id IS NOT NULL;
  CREATE INDEX revocations_up_to ON revocations (client_id, kind, at) WHERE at IS NOT NULL;
  CREATE INDEX revocations_by_moment ON revocations (at) WHERE at IS NOT NULL;
  CREATE INDEX revocations_by_expiry ON revocations (expires_at);

  -- Latest iat ahead of the clock that a token was given, since a revocation of its very second would have hit it.
  ALTER TABLE clients ADD COLUMN issued_ahead_at INTEGER;
  ALTER TABLE signing_keys ADD COLUMN revoked_at_ms INTEGER;
  `,
  // Changes of clients, quarantine, filters, keys of creations, API keys.
  `
  ALTER TABLE clients ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
  ALTER TABLE clients ADD COLUMN quarantined_at_ms INTEGER;
  ALTER TABLE clients ADD COLUMN quarantine_reason TEXT;
  CREATE INDEX clients_by_group ON clients (client_group, client_id) WHERE client_group IS NOT NULL;
  CREATE INDEX quarantined_clients ON clients (client_id) WHERE quarantined_at_ms IS NOT NULL;

  -- What clients.labels holds, to find clients by it.
  CREATE TABLE client_labels (
    registration INTEGER NOT NULL REFERENCES clients (registration) ON DELETE CASCADE,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    client_id TEXT NOT NULL,
    PRIMARY KEY (registration, name)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX clients_by_label ON client_labels (name, value, client_id);
  INSERT INTO client_labels (registration, name, value, client_id)
    SELECT registration, key, value, client_id FROM clients, json_each(clients.labels);

  CREATE TABLE creation_keys (
    owner TEXT NOT NULL,
    key_hash BLOB NOT NULL CHECK (length(key_hash) = 32),
    request_hash BLOB NOT NULL CHECK (length(request_hash) = 32),
    -- No reference: what was made and deleted is not made again.
    registration INTEGER NOT NULL,
    client_id TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    UNIQUE (owner, key_hash)
  ) STRICT;
  CREATE INDEX creation_keys_by_age ON creation_keys (created_at_ms);

  CREATE TABLE api_keys (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL CHECK (role IN ('admin', 'provisioner', 'auditor')),
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    previous_hash BLOB UNIQUE CHECK (length(previous_hash) = 32),
    previous_until_ms INTEGER CHECK ((previous_until_ms IS NULL) = (previous_hash IS NULL)),
    created_at_ms INTEGER NOT NULL,
    rotated_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER,
    last_used_at_ms INTEGER
  ) STRICT;
  `,
  // Rotation of client secrets: ids, ends and uses.
  `
  CREATE TABLE rotating_secrets (
    registration INTEGER NOT NULL REFERENCES clients (registration) ON DELETE CASCADE,
    slot INTEGER NOT NULL CHECK (slot IN (0, 1)),
    secret_id TEXT NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    created_at_ms INTEGER NOT NULL,
    -- The end it was made with, which no rotation moves beyond; NULL for none.
    made_until_ms INTEGER,
    -- When it does end; NULL when no end is set.
    expires_at_ms INTEGER CHECK (made_until_ms IS NULL OR expires_at_ms <= made_until_ms),
    first_used_at_ms INTEGER,
    last_used_at_ms INTEGER,
    ends_on_succession INTEGER NOT NULL DEFAULT 0 CHECK (ends_on_succession IN (0, 1)),
    PRIMARY KEY (registration, slot)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO rotating_secrets (registration, slot, secret_id, hash, created_at_ms)
    SELECT registration, slot, lower(hex(randomblob(8))), hash, created_at_ms FROM client_secrets;
  DROP TABLE client_secrets;
  ALTER TABLE rotating_secrets RENAME TO client_secrets;
  -- Each index holds few rows of a fleet that runs. The end is in both, so that ended ones are passed by in the index.
  CREATE INDEX secrets_never_used ON client_secrets (created_at_ms, registration, slot, expires_at_ms)
    WHERE first_used_at_ms IS NULL;
  CREATE INDEX secrets_by_end ON client_secrets (expires_at_ms, registration, slot)
    WHERE expires_at_ms IS NOT NULL;
  `,
  // Client authentication without secrets: keys and names of clients, assertions that were used.
  `
  ALTER TABLE clients ADD COLUMN auth_parameters TEXT NOT NULL DEFAULT '{}';

  CREATE TABLE used_assertions (
    id BLOB PRIMARY KEY CHECK (length(id) = 32),
    forget_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX used_assertions_by_time ON used_assertions (forget_at);
  `,
  // Clients by their name, as SuperTokens' list asks for them.
  `
  CREATE INDEX clients_by_name ON clients (name, client_id) WHERE name IS NOT NULL;
  `,
  // Signing keys that are published before they sign, and leave the set when what they signed has expired.
  `
  CREATE TABLE published_keys (
    kid TEXT PRIMARY KEY,
    algorithm TEXT NOT NULL,
    public_jwk TEXT NOT NULL,
    encrypted_private_jwk BLOB CHECK ((encrypted_private_jwk IS NULL) = (state = 'retired')),
    state TEXT NOT NULL CHECK (state IN ('next', 'active', 'retired')),
    created_at_ms INTEGER NOT NULL,
    published_at_ms INTEGER NOT NULL,
    is_wanted INTEGER NOT NULL CHECK (is_wanted IN (0, 1)),
    activated_at_ms INTEGER CHECK ((activated_at_ms IS NULL) = (state = 'next')),
    retired_at_ms INTEGER CHECK ((retired_at_ms IS NOT NULL) = (state = 'retired')),
    published_until_ms INTEGER CHECK ((published_until_ms IS NOT NULL) = (state = 'retired'))
  ) STRICT;
  -- The longest lifetime of a token, a minute that its iat may lie ahead, and five that a verifier's clock may.
  INSERT INTO published_keys
    SELECT kid, algorithm, public_jwk, CASE state WHEN 'active' THEN encrypted_private_jwk END, state, created_at_ms,
      created_at_ms, 0, created_at_ms,
      CASE state WHEN 'retired' THEN ifnull(retired_at_ms, created_at_ms) END,
      CASE state WHEN 'retired' THEN ifnull(retired_at_ms, created_at_ms) + 86760000 END
    FROM signing_keys WHERE revoked_at_ms IS NULL;
  DROP TABLE signing_keys;
  ALTER TABLE published_keys RENAME TO signing_keys;
  -- Two processes on one database never make two of these.
  CREATE UNIQUE INDEX one_active_signing_key ON signing_keys (state) WHERE state = 'active';
  CREATE UNIQUE INDEX one_next_signing_key ON signing_keys (state) WHERE state = 'next';

  CREATE TABLE signing_key_revision (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL
  ) STRICT;
  INSERT INTO signing_key_revision VALUES (1, 0);
  `,
  // audit chain: each row holds the hash of the one before.
  chainAudit,
  // Revocations that say that the client was put into quarantine.
  `
  ALTER TABLE revocations ADD COLUMN quarantined INTEGER NOT NULL DEFAULT 0
    CHECK (quarantined = 0 OR (quarantined = 1 AND kind = 'client'));
  -- That of a quarantine was recorded in the transaction that began it, with the same time.
  UPDATE revocations SET quarantined = 1 WHERE kind = 'client' AND EXISTS (
    SELECT 1 FROM clients
    WHERE clients.client_id = revocations.client_id AND quarantined_at_ms = revocations.created_at_ms);
  `,
  // OSCORE contexts, and the sequence numbers that the issuer has used.
  `
  ALTER TABLE client_secrets ADD COLUMN kid BLOB CHECK (length(kid) <= 7);
  ALTER TABLE client_secrets ADD COLUMN encrypted_context BLOB
    CHECK ((encrypted_context IS NULL) = (kid IS NULL));
  CREATE UNIQUE INDEX secrets_by_kid ON client_secrets (kid) WHERE kid IS NOT NULL;

  CREATE TABLE coap_sequence (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- The next number that was given to nobody.
    next INTEGER NOT NULL
  ) STRICT;
  INSERT INTO coap_sequence VALUES (1, 0);
  `,
  // Fleets: templates, what made a client, provisioning jobs.
  `
  CREATE TABLE templates (
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    template TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    PRIMARY KEY (name, version)
  ) STRICT, WITHOUT ROWID;

  ALTER TABLE clients ADD COLUMN template TEXT;
  ALTER TABLE clients ADD COLUMN template_version INTEGER;
  ALTER TABLE clients ADD COLUMN job_id TEXT;
  ALTER TABLE clients ADD COLUMN job_row INTEGER CHECK ((job_row IS NULL) = (job_id IS NULL));
  ALTER TABLE clients ADD COLUMN enrollment_id TEXT;
  CREATE INDEX clients_by_template ON clients (template, client_id) WHERE template IS NOT NULL;
  CREATE INDEX clients_by_job ON clients (job_id, client_id) WHERE job_id IS NOT NULL;
  -- A row of a job makes one client, however often it is asked for.
  CREATE UNIQUE INDEX clients_by_job_row ON clients (job_id, job_row) WHERE job_id IS NOT NULL;
  CREATE INDEX clients_by_enrollment ON clients (enrollment_id, client_id) WHERE enrollment_id IS NOT NULL;

  CREATE TABLE provisioning_jobs (
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    template_name TEXT NOT NULL,
    template_version INTEGER NOT NULL,
    -- As it was when the job began.
    template TEXT NOT NULL,
    key_hash BLOB NOT NULL CHECK (length(key_hash) = 32),
    source TEXT,
    total INTEGER NOT NULL CHECK (total > 0),
    start INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'cancelled')),
    next_row INTEGER NOT NULL CHECK (next_row >= 1),
    created INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE provisioning_failures (
    job_id TEXT NOT NULL REFERENCES provisioning_jobs (id) ON DELETE CASCADE,
    row INTEGER NOT NULL,
    code TEXT NOT NULL,
    description TEXT NOT NULL,
    PRIMARY KEY (job_id, row)
  ) STRICT, WITHOUT ROWID;
  `,
  // Campaigns that rotate the secrets of many clients.
  `
  CREATE TABLE campaigns (
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    selector TEXT NOT NULL,
    batch_size INTEGER NOT NULL CHECK (batch_size > 0),
    confirm_seconds INTEGER NOT NULL,
    pause_ratio REAL NOT NULL,
    secret_lifetime_seconds INTEGER,
    key_hash BLOB NOT NULL CHECK (length(key_hash) = 32),
    state TEXT NOT NULL CHECK (state IN ('running', 'paused', 'done', 'cancelled')),
    reason TEXT,
    selected INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    batch_at_ms INTEGER,
    reached TEXT,
    confirmed INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE campaign_devices (
    campaign_id TEXT NOT NULL REFERENCES campaigns (id) ON DELETE CASCADE,
    client_id TEXT NOT NULL,
    -- No reference: of a client that was deleted nothing is to be waited for.
    registration INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    secret_id TEXT,
    failure TEXT CHECK ((failure IS NULL) = (secret_id IS NOT NULL)),
    PRIMARY KEY (campaign_id, client_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX campaign_batches ON campaign_devices (campaign_id, batch, client_id);
  `,
  // Enrollments: devices that get their identity by a claim code or a group key.
  `
  CREATE TABLE enrollments (
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    code_hash BLOB UNIQUE CHECK (length(code_hash) = 32),
    primary_key BLOB CHECK ((primary_key IS NULL) = (code_hash IS NOT NULL)),
    secondary_key BLOB CHECK ((secondary_key IS NULL) = (primary_key IS NULL)),
    template TEXT NOT NULL,
    row TEXT NOT NULL,
    max_uses INTEGER CHECK (max_uses > 0),
    uses INTEGER NOT NULL,
    expires_at_ms INTEGER,
    needs_approval INTEGER NOT NULL CHECK (needs_approval IN (0, 1)),
    replaces INTEGER NOT NULL CHECK (replaces IN (0, 1)),
    revoked_at_ms INTEGER,
    created_by TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE enrollment_allowed (
    enrollment_id TEXT NOT NULL REFERENCES enrollments (id) ON DELETE CASCADE,
    client_id TEXT NOT NULL,
    PRIMARY KEY (enrollment_id, client_id)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE enrollment_requests (
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    enrollment_id TEXT NOT NULL REFERENCES enrollments (id) ON DELETE CASCADE,
    device_hash BLOB NOT NULL CHECK (length(device_hash) = 32),
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'enrolled')),
    client_id TEXT NOT NULL,
    template_version INTEGER NOT NULL,
    registration TEXT NOT NULL,
    salt BLOB NOT NULL CHECK (length(salt) = 32),
    reason TEXT,
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    UNIQUE (enrollment_id, device_hash)
  ) STRICT;
  CREATE INDEX enrollment_requests_by_state ON enrollment_requests (state, sequence) WHERE state = 'pending';
  `,
  // audit: what an act has changed, as JSON.
  `
  ALTER TABLE audit ADD COLUMN changes TEXT;
  `,
  // When a token was issued to a client last, to the day; 0 for never. Uses of secrets say it of tokens so far.
  `
  ALTER TABLE clients ADD COLUMN last_seen_at_ms INTEGER NOT NULL DEFAULT 0;
  UPDATE clients SET last_seen_at_ms = used.last_ms
  FROM (SELECT registration, max(last_used_at_ms) AS last_ms FROM client_secrets
    WHERE last_used_at_ms IS NOT NULL GROUP BY registration) AS used
  WHERE used.registration = clients.registration;
  CREATE INDEX clients_by_last_seen ON clients (last_seen_at_ms, client_id);
  `,
];
