/** `name@version` on the command line. */
import { AttestryError } from '../errors.ts'
import { isPackageName } from '../http/names.ts'
import type { PackageId } from '../types.ts'

/** As in a dist-tag or a version; what is neither is told before anybody is asked. */
const VERSION = /^[0-9a-z][0-9a-z.+\-_]*$/i

/** `name@version` or `name@dist-tag`; `name` alone where there is an `otherwise`. Throws EUSAGE. */
export const packageSpec = (text: string, otherwise?: string): PackageId => {
  const at = text.indexOf('@', 1)
  const name = at < 0 ? text : text.slice(0, at)
  const version = at < 0 ? otherwise : text.slice(at + 1)
  const shown = JSON.stringify(text)
  if (version === undefined)
    throw new AttestryError('EUSAGE', `wanted a package as name@version, found ${shown}`)
  if (!isPackageName(name))
    throw new AttestryError('EUSAGE', `${JSON.stringify(name)} is no package name`)
  if (!VERSION.test(version))
    throw new AttestryError('EUSAGE', `wanted one version after the @, found ${shown}`)
  return { name, version }
}
