import { FleetgateError } from './errors.ts';

/**
 * The secret in the environment variable `name`, else in the file that `name`_FILE names, without one line end;
 * `undefined` when neither is set. That file may have any mode: a secret of Docker or Kubernetes is mounted 0444 or 0644 in
 * a file system that nobody else is in, and refusing it would put the secret into the environment instead.
 * @param read its text
 * @throws FleetgateError `config_invalid` when both are set, or the file cannot be read or is empty
 */
export function secretVariable(
  name: string,
  environment: Readonly<Record<string, string | undefined>>,
  read: (file: string) => string,
): string | undefined {
  const fileName = `${name}_FILE`;
  const file = environment[fileName];
  if (file === undefined) return environment[name];
  if (environment[name] !== undefined)
    throw invalid(`both ${name} and ${fileName} are set; keep one of them`);
  let text: string;
  try {
    text = read(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw invalid(`${fileName}: cannot read '${file}' (${code}); name the file of the secret`);
  }
  const secret = text.replace(/\r?\n$/, '');
  if (secret === '') throw invalid(`${fileName}: ${file} is empty; write the secret into it`);
  return secret;
}

function invalid(message: string): FleetgateError {
  return new FleetgateError('config_invalid', message);
}
