import type { Credentials } from '@fleetgate/shared';

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
  for (const [name, value = ''] of options) {
    // What does not stand on the line would be an option of its own.
    if (/[\r\n\0]/.test(value)) throw new TypeError(`the value of ${name} does not fit on a line`);
  }
  const lines = options.map((option) => `${option.join(' ')}\n`).join('');
  return (token) => `${lines}-P ${token}\n`;
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
