/**
 * Runs in a thread of its own: answers each list of jobs with the list of what came of them. Imported by nothing, or it would
 * answer what other threads are told.
 */
import { parentPort } from 'node:worker_threads';
import { doJob, type SignatureJob } from './job.ts';

parentPort?.on('message', (jobs: readonly SignatureJob[]) => parentPort?.postMessage(jobs.map(doJob)));
