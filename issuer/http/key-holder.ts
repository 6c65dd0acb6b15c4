import type { Role } from '../roles.ts';

/**
 * Whose key it is, of keys that another part of this process has made and that are kept nowhere: the console makes one
 * for each person who is signed in. Undefined for what is none of them.
 */
export type KeyHolder = (key: string) => { readonly name: string; readonly role: Role } | undefined;
