/** The kinds of value a setting can have. Each carries what people, editors and `environment.ts` need. */
import { z } from 'zod'
import {
  durationPattern,
  durationWanted,
  formatDuration,
  formatSize,
  parseDuration,
  parseSize,
  sizePattern,
  sizeWanted,
} from './units.ts'
import { Secret } from './secret.ts'

export type LeafInfo = {
  /** For the table in docs/configuration.md. */
  readonly type: string
  /** What JSON Schema says instead of zod's own words. */
  readonly json?: Readonly<Record<string, unknown>>
  /** A file or folder: relative ones are resolved before the check. `file` must exist. */
  readonly entry?: 'file' | 'folder'
  /** Never printed; `${NAME}` is expanded. */
  readonly secret?: true
  /** From a variable: comma separated. */
  readonly list?: true
  /** From a variable: `file:PATH` stands for `{ file: PATH }`. */
  readonly fileForm?: true
  /** From a variable: text of digits is a number. */
  readonly number?: true
  /** From a variable: `true` and `false`. */
  readonly boolean?: true
}

export const leafInfo = z.registry<LeafInfo>()

const amount =
  (
    parse: (text: string) => number | undefined,
    show: (value: number) => string,
    wanted: string,
  ) =>
  (type: string, json: LeafInfo['json']) =>
  (description: string, { min, max }: { min: number; max: number }) =>
    z
      .string({ error: wanted })
      .transform((text, context) => {
        const value = parse(text)
        const message =
          value === undefined
            ? wanted
            : value < min || value > max
              ? `wanted ${show(min)} to ${show(max)}`
              : undefined
        if (message === undefined && value !== undefined) return value
        context.addIssue({ code: 'custom', message: message ?? wanted })
        return z.NEVER
      })
      .describe(description)
      .register(leafInfo, { type, ...(json && { json }) })

/** Milliseconds. */
export const duration = amount(
  parseDuration,
  formatDuration,
  durationWanted,
)('duration', {
  type: 'string',
  pattern: durationPattern,
})

/** Bytes. */
export const size = amount(
  parseSize,
  formatSize,
  sizeWanted,
)('size', {
  type: 'string',
  pattern: sizePattern,
})

export const integer = (description: string, { min, max }: { min: number; max: number }) => {
  const error = `wanted a whole number from ${min} to ${max}`
  return z
    .int({ error })
    .min(min, { error })
    .max(max, { error })
    .describe(description)
    .register(leafInfo, { type: 'whole number', number: true })
}

export const choice = <const T extends readonly [string, ...string[]]>(
  description: string,
  values: T,
) =>
  z
    .enum(values, { error: `wanted one of ${values.join(', ')}` })
    .describe(description)
    .register(leafInfo, { type: values.map(v => `\`${v}\``).join(', ') })

export const flag = (description: string) =>
  z
    .boolean({ error: 'wanted true or false' })
    .describe(description)
    .register(leafInfo, { type: '`true` or `false`', boolean: true })

export const secret = (description: string) =>
  z
    .string({ error: 'wanted text' })
    .min(1, { error: 'wanted text that is not empty' })
    .regex(/^[\x20-\x7e]+$/, { error: 'wanted printable ASCII on one line' })
    .transform(value => new Secret(value))
    .describe(description)
    .register(leafInfo, { type: 'secret', secret: true })

export const path = (description: string, kind: 'file' | 'folder') =>
  z
    .string({ error: `wanted the path of a ${kind}` })
    .min(1, { error: `wanted the path of a ${kind}` })
    .refine(value => !value.includes('\0'), { error: 'wanted a path without a NUL character' })
    .describe(description)
    .register(leafInfo, { type: kind, entry: kind })

const webUrl = (value: string): URL | string => {
  if (!URL.canParse(value)) return 'wanted an absolute URL, as in https://registry.example/'
  const url = new URL(value)
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    return 'wanted an http or https URL'
  if (url.username || url.password)
    return 'wanted a URL without credentials in it (use token, or username and password)'
  return url.search || url.hash ? 'wanted a URL without ? and #' : url
}

const urlLeaf = (description: string, type: string, finish: (url: URL) => string) =>
  z
    .string({ error: 'wanted an absolute URL' })
    .transform((value, context) => {
      const url = webUrl(value)
      if (typeof url !== 'string') return finish(url)
      context.addIssue({ code: 'custom', message: url })
      return z.NEVER
    })
    .describe(description)
    .register(leafInfo, { type, json: { type: 'string', format: 'uri' } })

/** http or https, no credentials, no query; normalised to end with a slash. */
export const baseUrl = (description: string) =>
  urlLeaf(description, 'URL', url => (url.href.endsWith('/') ? url.href : `${url.href}/`))

/** `https://host[:port]`; a path is cut off. */
export const origin = (description: string) => urlLeaf(description, 'origin', url => url.origin)

export type Listen = { readonly host: string; readonly port: number }

const parseListen = (value: string | number): Listen | undefined => {
  const match = /^(?:(\[[0-9a-f:.]+\]|[^:[\]\s/]+):)?(\d{1,5})$/i.exec(String(value))
  const port = Number(match?.[2])
  if (!match || port > 65_535) return undefined
  return { host: match[1]?.replace(/^\[|\]$/g, '') ?? '127.0.0.1', port }
}

/** `host:port`, `[ipv6]:port`, or a port on 127.0.0.1. */
export const listen = (description: string) =>
  z
    .union([z.string(), z.number()], { error: 'wanted host:port or a port' })
    .transform((value, context) => {
      const at = parseListen(value)
      if (at) return at
      context.addIssue({
        code: 'custom',
        message: 'wanted host:port or a port from 0 to 65535',
      })
      return z.NEVER
    })
    .describe(description)
    .register(leafInfo, { type: '`host:port` or port' })
