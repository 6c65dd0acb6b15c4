import Type from 'typebox';

/** No key that is not named: a slip is found at start. */
export const closed = { additionalProperties: false };
export const host = (address: string) =>
  Type.String({ minLength: 1, default: address, description: 'address to listen on' });
export const port = (number: number) =>
  Type.Integer({ minimum: 0, maximum: 65_535, default: number, description: 'port; 0 picks a free one' });
export const file = (description: string) => Type.Optional(Type.String({ minLength: 1, description }));
export const url = (description: string) =>
  Type.Optional(Type.String({ pattern: '^https?://', description }));
export const limit = (value: number, maximum: number, description: string) =>
  Type.Integer({ minimum: 1, maximum, default: value, description });
