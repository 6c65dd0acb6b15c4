import { test } from 'vitest';

test.todo('fleetgate completion bash|zsh|fish prints a script that completes commands, options and files');
