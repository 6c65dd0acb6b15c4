/** A table that is carried to another store. */
export interface CarriedTable {
  readonly name: string;
  /** By which its rows are ordered and each is told apart. */
  readonly key: readonly string[];
  /** Whose numbers the database gives out; the next is greater than all there have been. */
  readonly numbered?: string;
  /** Changes without a row of the trail, so that what an earlier run has carried may be out of date. */
  readonly isUntold?: true;
}

/** All tables, each behind those that it refers to. A new table must be added here: a test compares. */
export const carriedTables: readonly CarriedTable[] = [
  { name: 'clients', key: ['registration'], numbered: 'registration' },
  { name: 'client_labels', key: ['registration', 'name'] },
  { name: 'client_secrets', key: ['registration', 'slot'] },
  { name: 'creation_keys', key: ['owner', 'key_hash'] },
  { name: 'api_keys', key: ['name'], isUntold: true },
  { name: 'used_assertions', key: ['id'], isUntold: true },
  { name: 'coap_sequence', key: ['id'], isUntold: true },
  { name: 'signing_keys', key: ['kid'] },
  { name: 'signing_key_revision', key: ['id'] },
  { name: 'revocations', key: ['sequence'], numbered: 'sequence', isUntold: true },
  { name: 'templates', key: ['name', 'version'] },
  { name: 'provisioning_jobs', key: ['sequence'], numbered: 'sequence' },
  { name: 'provisioning_failures', key: ['job_id', 'row'] },
  { name: 'campaigns', key: ['sequence'], numbered: 'sequence' },
  { name: 'campaign_devices', key: ['campaign_id', 'client_id'] },
  { name: 'enrollments', key: ['sequence'], numbered: 'sequence' },
  { name: 'enrollment_allowed', key: ['enrollment_id', 'client_id'] },
  { name: 'enrollment_requests', key: ['sequence'], numbered: 'sequence' },
  { name: 'audit', key: ['sequence'] },
];
