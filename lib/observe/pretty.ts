/** A log line for people: time, level, message, then what else there is. */
import { styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

const styles: Readonly<Record<string, Style>> = {
  fatal: ['bold', 'red'],
  error: 'red',
  warn: 'yellow',
  info: 'green',
  debug: 'blue',
  trace: 'gray',
}

/** Control characters and direction marks: what a client sends must not steer the terminal. */
// oxlint-disable-next-line no-control-regex -- control characters are what it is about
const steering = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g

const visible = (text: string): string =>
  text.replaceAll(
    steering,
    c => String.raw`\u${(c.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  )

const valueText = (value: unknown): string => {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
  return visible(/[\s"=]/.test(text) && typeof value === 'string' ? JSON.stringify(text) : text)
}

/** Indented, so that no line of it can be taken for one of the log. */
const below = (lines: readonly string[]): string =>
  lines.map(line => `\n    ${visible(line)}`).join('')

const errorText = (error: unknown): string => {
  if (typeof error !== 'object' || error === null) return `\n    ${valueText(error)}`
  const { stack, message } = error as { stack?: unknown; message?: unknown }
  const text = typeof stack === 'string' ? stack : typeof message === 'string' ? message : ''
  return below(text.split('\n'))
}

/** One JSON line of the log → one or more lines of text. Text that is no log line stays, made visible. */
export const prettyLine = (line: string, color: boolean): string => {
  const paint = (style: Style, text: string) =>
    color ? styleText(style, text, { validateStream: false }) : text
  let entry: Record<string, unknown>
  try {
    entry = JSON.parse(line) as Record<string, unknown>
  } catch {
    return `${visible(line.trimEnd())}\n`
  }
  const { level, time, msg, err, ...rest } = entry
  const name = typeof level === 'string' ? level : 'info'
  const clock = typeof time === 'string' ? time.slice(11, 23) : ''
  const fields = Object.entries(rest).map(
    ([key, value]) => ` ${paint('dim', `${visible(key)}=`)}${valueText(value)}`,
  )
  const head = `${paint('dim', clock)} ${paint(styles[name] ?? 'green', name.padEnd(5))}`
  const [said, ...more] = typeof msg === 'string' ? msg.split('\n') : []
  const message = said === undefined ? '' : ` ${visible(said)}`
  return `${head}${message}${fields.join('')}${below(more)}${err === undefined ? '' : errorText(err)}\n`
}
