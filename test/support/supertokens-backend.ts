/**
 * A backend that has its clients of OAuth 2.0 by SuperTokens' SDK, as its documentation shows. The SDK knows one core in
 * a process: the one at the address given. The API key is the first line of the input, and each line after it a call,
 * as JSON: the name of a function of the recipe and its arguments. Prints each answer as a line of JSON.
 */
import { createInterface } from 'node:readline';
import supertokens from 'supertokens-node';
import OAuth2Provider from 'supertokens-node/recipe/oauth2provider/index.js';
import Session from 'supertokens-node/recipe/session/index.js';

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const nextLine = async () => (await lines.next()).value as string | undefined;

supertokens.init({
  supertokens: { connectionURI: process.argv[2] ?? '', apiKey: (await nextLine()) ?? '' },
  appInfo: {
    appName: 'fleet',
    apiDomain: 'http://127.0.0.1:3001',
    websiteDomain: 'http://127.0.0.1:3000',
  },
  // The second, as the one that verifies tokens looks for its settings there.
  recipeList: [OAuth2Provider.init(), Session.init({ getTokenTransferMethod: () => 'header' })],
});

const recipe = OAuth2Provider as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
for (let line = await nextLine(); line !== undefined; line = await nextLine()) {
  const [name, ...args] = JSON.parse(line) as [string, ...unknown[]];
  const answer = await recipe[name]?.(...args).catch((error: Error) => ({ thrown: error.message }));
  console.log(JSON.stringify(answer));
}
