import { basename } from 'node:path'
import { keyReader } from '../../config/key-file.ts'
import { parseLayers } from '../../policy/parse.ts'
import type { Policy } from '../../policy/policy.ts'
import type { PolicyText } from '../reload.ts'

/** Throws EPOLICY. */
export const parseTexts = (
  texts: readonly PolicyText[],
  upstreams: readonly string[],
): readonly Policy[] =>
  parseLayers(
    texts.map(({ file, text }) => ({
      file,
      name: basename(file),
      text,
      readKey: keyReader(file),
    })),
    upstreams,
  )
