import { runAgentCommand } from './cli.ts';

// A reader that goes away is no fault.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

process.exitCode = await runAgentCommand(process.argv);
