import { basename } from 'node:path'
import { parsePolicy } from '../../policy/parse.ts'
import type { Policy } from '../../policy/policy.ts'
import type { PolicyText } from '../reload.ts'

/** Throws EPOLICY. */
export const parseTexts = (
  texts: readonly PolicyText[],
  upstreams: readonly string[],
): readonly Policy[] =>
  texts.map(({ file, text }) => parsePolicy(text, { file, name: basename(file), upstreams }))
