import { type Client, call, get } from './api.ts';
import type { Refusal } from './live.ts';
import { Copyable, Dialog, Failure, useLoaded, when } from './parts.tsx';
import { type Explanation, Trace } from './trace.tsx';

/** Texts of all codes, once they are asked for. */
let codes: Promise<Record<string, string>> | undefined;

function loadCodes(): Promise<Record<string, string>> {
  codes ??= get<Record<string, string>>('/codes').catch((failure) => {
    codes = undefined;
    throw failure;
  });
  return codes;
}

/** One refusal: what its code means, the rule that decides, and the command that says the same. */
export function Why({ refusal, onClose }: { refusal: Refusal; onClose: () => void }) {
  const { action, clientId, reason, topic } = refusal;
  const explained = action === 'will' ? 'publish' : action;
  const canExplain =
    clientId !== undefined && topic !== undefined && /^(publish|subscribe|receive)$/.test(explained);
  const meaning = useLoaded(reason, async () => (await loadCodes())[reason]);
  const known = useLoaded(`${clientId} ${topic}`, async () => {
    if (!canExplain) return undefined;
    const question = { client_id: clientId, action: explained, topic };
    const [client, trace] = await Promise.all([
      get<Client>(`/v1/clients/${encodeURIComponent(clientId)}`),
      call<Explanation>('POST', '/decide', question),
    ]);
    return { scope: client.scope, explanation: trace.body };
  });
  return (
    <Dialog title={`Refused: ${reason}`} onClose={onClose}>
      <Failure error={meaning.error} />
      {meaning.value === undefined ? null : <p>{meaning.value}</p>}
      <dl>
        {Object.entries(refusal).map(([name, value]) => (
          <>
            <dt>{name}</dt>
            <dd>{shownValue(name, value)}</dd>
          </>
        ))}
      </dl>
      {canExplain ? <Failure error={known.error} /> : null}
      {known.value === undefined ? (
        <Copyable text={`fleetgate explain ${reason}`} />
      ) : (
        <>
          <h3>As the policy is now, for all it is registered for</h3>
          <Trace explanation={known.value.explanation} />
          <p class="who">It holds: {known.value.scope === '' ? 'no scope' : known.value.scope}</p>
          <Copyable
            text={`fleetgate policy explain --client-id ${quoted(clientId ?? '')} --scope ${quoted(known.value.scope)} ${explained} ${quoted(topic ?? '')}`}
          />
          <h3>As a line for fleetgate policy test</h3>
          <Copyable
            text={`- ${JSON.stringify({ client: clientId, action: explained, topic, ...expected(known.value.explanation) })}`}
          />
        </>
      )}
    </Dialog>
  );
}

/** What an expectation says of a decision: JSON, which is YAML too. */
const expected = ({ decision: { allowed, reason } }: Explanation) =>
  allowed ? { expect: 'allow' } : { expect: 'deny', reason };

function shownValue(name: string, value: string | number) {
  if (name === 'at') return when(value);
  if (name === 'clientId') return <a href={`#/clients/${encodeURIComponent(value)}`}>{value}</a>;
  return String(value);
}

/** For a shell: a topic may hold anything. */
const quoted = (text: string) => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
