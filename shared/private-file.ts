/**
 * What is wrong with the mode of a file that holds a secret, with its mend, or `undefined` when only its owner
 * may touch it. `mode` is `fs.Stats.mode`.
 */
export function privateFileProblem(path: string, mode: number): string | undefined {
  if ((mode & 0o077) === 0) return undefined;
  const octal = (mode & 0o777).toString(8).padStart(4, '0');
  return `${path} may be read by others (mode ${octal}); run: chmod 600 ${path}`;
}
