import { useEffect, useState } from 'preact/hooks';
import { call, type Session } from './api.ts';
import { Dialog, Failure } from './parts.tsx';

interface Props {
  readonly way: Session['way'];
  readonly answer: (isGiven: boolean) => void;
}

/** Who somebody is once more, before what touches many at once. */
export function StepUp({ way, answer }: Props) {
  return way === 'oidc' ? <SignInAnew answer={answer} /> : <GiveKey answer={answer} />;
}

function GiveKey({ answer }: Pick<Props, 'answer'>) {
  const [key, setKey] = useState('');
  const [error, setError] = useState<unknown>();
  return (
    <Dialog title="Give the admin API key once more" onClose={() => answer(false)}>
      <form
        onSubmit={async (event) => {
          event.preventDefault();
          try {
            await call('POST', '/step-up', { api_key: key.trim() });
            answer(true);
          } catch (failure) {
            setError(failure);
          }
          setKey('');
        }}
      >
        <p>This touches more than one client.</p>
        <label>
          Admin API key
          <input
            type="password"
            autocomplete="off"
            required
            value={key}
            onInput={({ currentTarget }) => setKey(currentTarget.value)}
          />
        </label>
        <Failure error={error} />
        <button type="submit">Go on</button>
      </form>
    </Dialog>
  );
}

/** Between tabs of this browser. */
const CHANNEL = 'fleetgate-step-up';

/** To the tab that waits. */
export function tellSteppedUp(): void {
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage('done');
  channel.close();
}

/** In a tab of its own, so that what was begun in this one goes on. */
function SignInAnew({ answer }: Pick<Props, 'answer'>) {
  useEffect(() => {
    const channel = new BroadcastChannel(CHANNEL);
    channel.onmessage = () => answer(true);
    return () => channel.close();
  }, []);
  return (
    <Dialog title="Sign in anew" onClose={() => answer(false)}>
      <p>This touches more than one client. Prove once more who you are; what you began goes on by itself.</p>
      <p>
        <a class="button" href="./oidc/step-up" target="_blank" rel="noopener">
          Sign in anew
        </a>
      </p>
    </Dialog>
  );
}
