import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseAllDocuments } from 'yaml';

export const chart = resolve(import.meta.dirname, '../../deploy/helm/fleetgate');

/** Whether tests that need helm are skipped. In CI too where there is no Go: Debian has no package of it. */
export const isHelmMissing = spawnSync('helm', ['version']).error !== undefined;

interface HttpProbe {
  readonly httpGet: { path: string; port: string; scheme: string };
}

export interface Container {
  readonly args: string[];
  readonly env: { name: string; value: string }[];
  readonly ports: { name: string; containerPort: number; protocol?: string }[];
  readonly startupProbe: HttpProbe;
  readonly livenessProbe: HttpProbe;
  readonly readinessProbe: HttpProbe;
  readonly securityContext: object;
  readonly volumeMounts: { name: string; mountPath: string }[];
}

interface ProjectedSecret {
  readonly secret: { name: string; items: { key: string; path: string }[] };
}

export interface Volume {
  readonly name: string;
  readonly configMap?: { name: string };
  readonly secret?: { secretName: string };
  readonly projected?: { sources: ProjectedSecret[] };
  readonly persistentVolumeClaim?: { claimName: string };
}

export interface PodSpec {
  readonly containers: Container[];
  readonly volumes: Volume[];
}

/** What Kubernetes would be given; the parts that the tests look at. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { name: string; labels: Record<string, string> };
  readonly data?: Record<string, string>;
  readonly spec: {
    readonly template: { metadata: { labels: Record<string, string> }; spec: PodSpec };
    readonly selector: Record<string, string> & { matchLabels: Record<string, string> };
    readonly ports: { name: string; port: number; targetPort: string }[];
  };
}

/** Runs helm on the chart; what it printed. */
export function helm(...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  // Of a cluster it knows nothing, and takes an old one.
  const version = args[0] === 'lint' ? [] : ['--kube-version', '1.31.0'];
  return spawnSync('helm', [...args, ...version], { encoding: 'utf8' });
}

/** The manifests of a release `fleet` with these values. */
export const render = (...values: readonly string[]): Manifest[] => renderOf(chart, values);

function renderOf(folder: string, values: readonly string[]): Manifest[] {
  const { status, stdout, stderr } = helm('template', 'fleet', folder, ...values);
  if (status !== 0) throw new Error(stderr);
  return parseAllDocuments(stdout).map((one) => one.toJS() as Manifest);
}

export function find(manifests: readonly Manifest[], kind: string, name: string): Manifest {
  const found = manifests.find((one) => one.kind === kind && one.metadata.name === name);
  if (found === undefined) throw new Error(`there is no ${kind} ${name}`);
  return found;
}

/** What `helm install` of a release `fleet` prints in the end. `copy` is a folder that it may make. */
export function notes(copy: string, ...values: readonly string[]): string {
  cpSync(chart, copy, { recursive: true });
  const templates = join(copy, 'templates');
  // `helm template` leaves them out, and `helm install` asks a cluster.
  const text = readFileSync(join(templates, 'NOTES.txt'), 'utf8');
  writeFileSync(join(templates, '_notes.tpl'), `{{- define "notes" -}}\n${text}\n{{- end -}}`);
  writeFileSync(
    join(templates, 'notes.yaml'),
    '{ apiVersion: v1, kind: Notes, metadata: { name: notes }, data: { notes: {{ include "notes" . | toJson }} } }',
  );
  return find(renderOf(copy, values), 'Notes', 'notes').data?.['notes'] ?? '';
}
