import Type from 'typebox';
import { MAX_ROWS } from '../fleet/provisioning.ts';

/** Bytes of a body with rows: 500 with a key each. */
export const MAX_ROWS_BYTES = 1_048_576;

/** Rows as they come: one that cannot be read fails by itself. */
export const Rows = Type.Array(Type.Record(Type.String(), Type.Unknown()), {
  maxItems: MAX_ROWS,
  description:
    'a device each: `client_id`, `name`, `group`, `labels` (or `labels.NAME`) and `jwks` (or `public_jwk`, one key) go before what the template says; all else fills its places, as `serial` fills `{serial}`',
});
export const firstRow = Type.Integer({ minimum: 1, description: 'number of the first of these rows' });
export const start = Type.Integer({ minimum: 0, description: '`{n}` of the first row of all. Default: 1' });
