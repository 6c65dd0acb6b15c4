import { type Credentials, FleetgateError } from '@fleetgate/shared';

/** Bytes of a line that Mosquitto's commands read, its end among them; the rest would be an option of its own. */
const MAX_LINE_BYTES = 1_023;

/** Whom the commands of Mosquitto connect to, and as whom. */
export interface MosquittoSession {
  readonly credentials: Credentials;
  /** `mqtt:` or `mqtts:`. Default `broker.url` of the credentials; without one the file leaves the address open. */
  readonly brokerUrl?: string | undefined;
  /** MQTT client id. Default `client_id`. */
  readonly clientId?: string | undefined;
}

/**
 * Makes the text of an option file of mosquitto_pub, mosquitto_sub and mosquitto_rr for a token: one option a line, as
 * they read it by `-o` or from their configuration folder.
 * What it gives back throws FleetgateError `sink_failed` for a token that does not fit on a line.
 * @throws TypeError for a broker they cannot connect to, or a name that does not fit on a line
 */
export function mosquittoOptionFile(session: MosquittoSession): (token: string) => string {
  const { credentials, clientId = credentials.client_id } = session;
  const options = [
    ...brokerOptions(session),
    ['-i', clientId],
    ['-u', credentials.client_id],
    ['-V', 'mqttv311'],
  ];
  for (const option of options) {
    if (!fitsOnLine(lineOf(option))) throw new TypeError(`the value of ${option[0]} does not fit on a line`);
  }
  const lines = options.map(lineOf).join('');
  return (token) => {
    const line = lineOf(['-P', token]);
    if (fitsOnLine(line)) return lines + line;
    throw new FleetgateError(
      'sink_failed',
      `the token is longer than the ${MAX_LINE_BYTES - 4} bytes that Mosquitto reads of it; ask for fewer scopes, or have it signed by ES256`,
    );
  };
}

function lineOf(option: readonly string[]): string {
  return `${option.join(' ')}\n`;
}

function fitsOnLine(line: string): boolean {
  return Buffer.byteLength(line) <= MAX_LINE_BYTES && !/[\r\n\0]/.test(line.slice(0, -1));
}

function brokerOptions({ credentials, brokerUrl = credentials.broker?.url }: MosquittoSession): string[][] {
  if (brokerUrl === undefined) return [];
  const url = URL.parse(brokerUrl);
  if (url === null || !['mqtt:', 'mqtts:'].includes(url.protocol)) {
    throw new TypeError('Mosquitto connects to mqtt:// and mqtts:// alone; give such a listener by --broker');
  }
  const isTls = url.protocol === 'mqtts:';
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const address = [
    ['-h', host],
    ['-p', url.port || (isTls ? '8883' : '1883')],
  ];
  return isTls ? [...address, ...tlsOptions(credentials)] : address;
}

function tlsOptions({ auth, broker }: Credentials): string[][] {
  const trust = broker?.ca_file === undefined ? ['--tls-use-os-certs'] : ['--cafile', broker.ca_file];
  if (auth.method !== 'tls_client_auth') return [trust];
  return [trust, ['--cert', auth.cert_file], ['--key', auth.key_file]];
}
