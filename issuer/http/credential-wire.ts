import Type from 'typebox';
import type { ShownCredential } from '../client-credential.ts';

const hex = (description: string) => Type.String({ description: `${description}, in hexadecimal` });

/** What a client proves itself by, in the one answer that shows it. */
export const Credential = Type.Object({
  client_secret: Type.Optional(Type.String({ description: 'shown this once' })),
  oscore: Type.Optional(
    Type.Object(
      {
        master_secret: hex('16 bytes'),
        master_salt: hex('8 bytes'),
        sender_id: hex("the device's id"),
        recipient_id: hex("the issuer's id"),
      },
      { description: 'the context of `auth_method` oscore, as the device has it; shown this once' },
    ),
  ),
});

export function credentialView({ clientSecret, oscore }: ShownCredential) {
  return {
    ...(clientSecret === undefined ? {} : { client_secret: clientSecret }),
    ...(oscore === undefined
      ? {}
      : {
          oscore: {
            master_secret: oscore.masterSecret,
            master_salt: oscore.masterSalt,
            sender_id: oscore.senderId,
            recipient_id: oscore.recipientId,
          },
        }),
  };
}
