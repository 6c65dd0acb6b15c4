import type { GrantClaims, Grants } from './grants.ts';
import { emptyGrants } from './grants.ts';

/** A policy file, validated and frozen. */
export interface Policy {
  readonly version: 1;
}

export function parsePolicy(_text: string, _fileName: string): Policy {
  return Object.freeze({ version: 1 });
}

export function compileGrants(_policy: Policy | undefined, _claims: GrantClaims): Grants {
  return emptyGrants;
}

export const examplePolicy = 'version: 1\n';
