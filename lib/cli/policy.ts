/** `attestry policy`: what can be done with policy files before they are in force. */
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
  test: {
    summary: 'Run the test cases beside a policy.',
    load: async () => (await import('./policy/run-cases.ts')).runCases,
  },
})
