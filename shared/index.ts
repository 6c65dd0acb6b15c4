export * from './credentials.ts';
export * from './errors.ts';
export * from './identifier.ts';
export * from './nearest.ts';
export * from './private-file.ts';
export * from './scope.ts';
export * from './token.ts';
export * from './topic.ts';
