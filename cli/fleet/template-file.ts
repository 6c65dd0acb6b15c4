import { readFileSync } from 'node:fs';
import { readDocument } from '@fleetgate/broker/policy';
import { UsageError } from '../exit.ts';

const text = { type: 'string' };
const texts = { type: 'object', additionalProperties: text };

/** What a template file holds. Meaning and limits are the issuer's; this is the shape, so that a slip has a line. */
const schema = {
  type: 'object',
  required: ['template', 'id'],
  additionalProperties: false,
  properties: {
    template: text,
    id: text,
    name: text,
    scope: text,
    audience: { type: 'array', items: text },
    auth_method: text,
    token_lifetime_seconds: { type: 'integer' },
    secret_lifetime_seconds: { type: 'integer' },
    group: text,
    labels: texts,
    metadata: { type: 'object' },
    tls_client_auth_subject_dn: text,
    tls_client_auth_san_dns: text,
    tls_client_auth_san_uri: text,
    tls_client_auth_san_ip: text,
    tls_client_auth_san_email: text,
  },
};

export interface TemplateFile {
  readonly name: string;
  readonly template: Record<string, unknown>;
}

/**
 * Reads a template, YAML or JSON.
 * @throws DocumentError, a FleetgateError `config_invalid`, with line and column of each mistake; UsageError
 */
export function readTemplateFile(file: string): TemplateFile {
  let content: string;
  try {
    content = readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`cannot read ${file} (${(error as NodeJS.ErrnoException).code})`);
  }
  const { template: name, ...template } = readDocument<{ template: string } & Record<string, unknown>>(
    content,
    file,
    schema,
    { bracedWordsAreText: true },
  );
  return { name, template };
}
