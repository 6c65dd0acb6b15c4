/** What of `fs.Stats` says who may read a file. */
export interface FileAccess {
  readonly mode: number;
  readonly uid: number;
}

/**
 * What is wrong with who may read a file that holds a secret, with its mend, or `undefined` when only its owner may
 * touch it. To a process that is not root a file of root may also be readable by its group, as PostgreSQL has it
 * (`ssl_key_file`): a Kubernetes secret is mounted so, with `fsGroup` and `defaultMode: 0400`.
 * @param euid of the process. Default: its own
 */
export function privateFileProblem(
  path: string,
  { mode, uid }: FileAccess,
  euid: number | undefined = process.geteuid?.(),
): string | undefined {
  const isOfRoot = uid === 0 && euid !== undefined && euid !== 0;
  if ((mode & (isOfRoot ? 0o037 : 0o077)) === 0) return undefined;
  const octal = (mode & 0o777).toString(8).padStart(4, '0');
  // Of root 600 would shut this process out.
  const wanted = isOfRoot ? '640' : '600';
  return `${path} may be read by others (mode ${octal}); run: chmod ${wanted} ${path}`;
}
