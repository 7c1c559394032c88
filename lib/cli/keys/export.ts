/** `attestry keys export`: public halves only. */
import { createPublicKey } from 'node:crypto'
import { readKeyList } from '../../trust/key-folder.ts'
import { endpointForm, targetForm } from '../../trust/registry-key.ts'
import { AttestryError } from '../../errors.ts'
import { helpText, parseArguments } from '../arguments.ts'
import type { Run } from '../io.ts'
import { jsonText } from '../store-session.ts'
import { keyFolderOf, keysJack } from './folder.ts'

const FORMS = ['endpoint', 'tuf', 'pem'] as const

export const exportKeys: Run = async (args, io) => {
  const command = keysJack(
    'attestry keys export [options]',
    'Print the public halves of the keys.',
  ).opt({
    form: {
      hint: 'form',
      description:
        'endpoint: as at /-/npm/v1/keys (default). tuf: with the beginning of validity, for registryKeys of another site. pem: one PEM after the other.',
    },
  })
  const { values, positionals } = parseArguments(command, args)
  if (values.help) {
    io.stdout.write(helpText(command))
    return 0
  }
  const { form: asked = 'endpoint' } = values
  const form = FORMS.find(known => known === asked)
  if (form === undefined || positionals.length > 0)
    throw new AttestryError(
      'EUSAGE',
      `--form: wanted one of ${FORMS.join(', ')}, found ${positionals[0] ?? asked}`,
    )
  if (form === 'pem' && values.json)
    throw new AttestryError('EUSAGE', '--json is not for --form pem')
  const { folder } = await keyFolderOf(values, io)
  const keys = await readKeyList(folder)
  if (keys.length === 0) throw new AttestryError('ESIGNING', `${folder}: there are no keys`)
  if (form !== 'pem') {
    io.stdout.write(jsonText(form === 'tuf' ? targetForm(keys) : endpointForm(keys)))
    return 0
  }
  for (const { spki } of keys) {
    const key = createPublicKey({
      key: Buffer.from(spki, 'base64'),
      format: 'der',
      type: 'spki',
    })
    io.stdout.write(String(key.export({ type: 'spki', format: 'pem' })))
  }
  return 0
}
