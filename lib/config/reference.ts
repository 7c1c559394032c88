/** The table of settings in docs/configuration.md, made from the schema. */
import { settingKeys, variableName, type SettingKey } from './keys.ts'

const cell = (text: string) => text.replaceAll('|', String.raw`\|`).replaceAll('\n', ' ')

const shown = ({ fallback }: SettingKey): string => {
  if (fallback === undefined) return ''
  if (Array.isArray(fallback)) return `\`[${fallback.join(', ')}]\``
  return `\`${typeof fallback === 'string' ? fallback : JSON.stringify(fallback)}\``
}

const row = (key: SettingKey): string => {
  const name = key.path.map(part => (part === '*' ? '<name>' : part)).join('.')
  const cells = [`\`${name}\``, key.type, shown(key), `\`${variableName(key.path)}\``]
  return `| ${[...cells, key.description].map(text => cell(text)).join(' | ')} |`
}

/** Markdown: one row for each key with its type, default, variable and meaning. */
export const settingsTable = (): string =>
  [
    '| Key | Type | Default | Variable | Meaning |',
    '| --- | --- | --- | --- | --- |',
    ...settingKeys.map(key => row(key)),
  ].join('\n')
