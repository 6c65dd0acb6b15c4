export * from './coap-content.ts';
export * from './coap-message.ts';
export * from './option-value.ts';
export * from './oscore-error.ts';
export * from './protection.ts';
export * from './replay-window.ts';
export * from './security-context.ts';
