/** The log: pino, one JSON object a line, or lines for people. Secrets are taken out of every line. */
import type { Writable } from 'node:stream'
import { pino, stdSerializers, stdTimeFunctions, type Logger } from 'pino'
import { prettyLine } from './pretty.ts'
import { scrub } from './scrub.ts'

export type Log = Logger
export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'

export type LogOptions = {
  readonly level: LogLevel
  /** `auto`: pretty when `stream` is a terminal. */
  readonly format: 'pretty' | 'json' | 'auto'
  /** Default: stderr; stdout belongs to the answers of commands. */
  readonly stream?: Writable & { readonly isTTY?: boolean }
  /** Colours for pretty; default: when `stream` is a terminal and NO_COLOR is not set. */
  readonly color?: boolean
}

/** Written in the order of the calls; a stream that nobody reads any more does not stop the server. */
export const openLog = (options: LogOptions): Log => {
  const { level, format, stream = process.stderr } = options
  const terminal = stream.isTTY === true
  const pretty = format === 'pretty' || (format === 'auto' && terminal)
  const color = options.color ?? (terminal && !process.env['NO_COLOR'])
  // a reader of our stderr that goes away (EPIPE) must not end the server
  stream.on('error', () => {})
  const write = (line: string) => {
    if (stream.writable) stream.write(pretty ? prettyLine(scrub(line), color) : scrub(line))
  }
  return pino(
    {
      level,
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      serializers: { err: stdSerializers.err, error: stdSerializers.err },
      depthLimit: 8,
      edgeLimit: 200,
    },
    { write },
  )
}
