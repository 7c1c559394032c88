/** `attestry policy`: what can be done with policy files before they are in force, and putting them in force everywhere. */
import { commandOfParts } from './parts.ts'

export const policy = commandOfParts('policy', {
  check: {
    summary: 'Read policy files and say what is wrong, and what is probably not meant.',
    load: async () => (await import('./policy/check.ts')).check,
  },
  diff: {
    summary: 'Tell whose verdict another policy would change.',
    load: async () => (await import('./policy/diff.ts')).diff,
  },
  publish: {
    summary:
      'Put a policy into the store, in force on all instances, and wait until they say so.',
    load: async () => (await import('./policy/publish.ts')).publish,
  },
  status: {
    summary: 'Show the published policy, the ones before it, and what each instance judges by.',
    load: async () => (await import('./policy/status.ts')).status,
  },
  test: {
    summary: 'Run the test cases beside a policy.',
    load: async () => (await import('./policy/run-cases.ts')).runCases,
  },
})
