import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type Container, find, type Manifest, type Volume } from './chart.ts';
import { fleetgateCommand, type RunningFleetgate, runCommand, startFleetgate } from './fleetgate-process.ts';

/** Files of the cluster that no chart has: of Secrets and ConfigMaps, by their name. */
export type Mounted = Readonly<Record<string, Readonly<Record<string, string>>>>;

/** A pod of a Deployment on this machine: its files, its environment and its command, in a folder that is its root. */
export async function runPod(
  manifests: readonly Manifest[],
  deployment: string,
  root: string,
  { mounted = {}, set = [] }: { mounted?: Mounted; set?: readonly string[] } = {},
): Promise<RunningFleetgate> {
  const { containers, volumes } = find(manifests, 'Deployment', deployment).spec.template.spec;
  const container = containers[0] as Container;
  const here = (text: string) => text.replaceAll(/(?<=^|[ ="'])\/(etc|data)\//gm, `${root}/$1/`);
  for (const { name, mountPath } of container.volumeMounts) {
    const folder = join(root, mountPath);
    mkdirSync(folder, { recursive: true, mode: 0o775 });
    const volume = volumes.find((one) => one.name === name) as Volume;
    for (const [file, text] of filesOf(volume, manifests, mounted)) {
      writeFileSync(join(folder, file), here(text), { mode: 0o400 });
    }
  }
  const env = Object.fromEntries(container.env.map(({ name, value }) => [name, here(value)]));
  return startFleetgate([...container.args, '--json', ...set.flatMap((one) => ['--set', one])], env);
}

function filesOf(volume: Volume, manifests: readonly Manifest[], mounted: Mounted): [string, string][] {
  const { configMap, secret, projected } = volume;
  const of = (name: string) => {
    const own = manifests.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === name)?.data;
    const data = own ?? mounted[name];
    if (data === undefined) throw new Error(`nothing is called ${name}`);
    return data;
  };
  const name = configMap?.name ?? secret?.secretName;
  if (name !== undefined) return Object.entries(of(name));
  return (projected?.sources ?? []).flatMap(({ secret: { name: of_, items } }) =>
    items.map(({ key, path }): [string, string] => [path, of(of_)[key] as string]),
  );
}

/** Asks the probes of the pod, at the port here of each of its ports. */
export async function expectReady(
  manifests: readonly Manifest[],
  deployment: string,
  ports: Readonly<Record<string, number>>,
  env: Record<string, string> = {},
): Promise<void> {
  const [container] = find(manifests, 'Deployment', deployment).spec.template.spec.containers;
  for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe'] as const) {
    const { path, port, scheme } = (container as Container)[probe].httpGet;
    // A process of its own, which can be told of an authority. The name is the one of the certificate.
    const url = `${scheme.toLowerCase()}://localhost:${ports[port]}${path}`;
    const ask = `process.exit((await fetch('${url}')).status === 200 ? 0 : 1)`;
    const asked = async () =>
      (await runCommand(process.execPath, ['--input-type=module', '-e', ask], { env })).code;
    await expect.poll(asked, { timeout: 20_000, message: `${probe} ${url}` }).toBe(0);
  }
}

/** Runs a command as `kubectl exec POD -- sh -c COMMAND` does; what it printed. */
export async function execInPod(root: string, command: string): Promise<string> {
  const node = [process.execPath, ...fleetgateCommand].map((word) => `'${word}'`).join(' ');
  const script = `fleetgate() { ${node} "$@"; }; ${command.replaceAll('/tmp/', `${root}/tmp/`)}`;
  const env = {
    FLEETGATE_CONFIG: join(root, 'etc/fleetgate/fleetgate.yaml'),
    FLEETGATE_DATA_DIR: join(root, 'data/fleetgate'),
  };
  const { code, stdout, stderr } = await runCommand('sh', ['-ec', script], { env });
  if (code !== 0) throw new Error(stderr);
  return stdout;
}
