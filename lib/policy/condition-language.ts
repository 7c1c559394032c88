/**
 * The language of `where`: CEL over a typed view of the evidence, cut down so that no expression can
 * hang or grow. No patterns (`matches` takes regular expressions, which can take for ever), no
 * loops, no maps, and limits on length, size and depth: what is left takes time that grows with the
 * text. https://github.com/google/cel-spec/blob/master/doc/langdef.md
 */
import { createRequire } from 'node:module'
import type * as Cel from '@marcbachmann/cel-js'
import { didYouMean } from '../config/nearest.ts'
import { identityFields } from './policy.ts'

/** Characters of an expression. */
export const conditionMost = 2000
const limits = {
  maxAstNodes: 250,
  maxDepth: 25,
  maxListElements: 100,
  maxMapEntries: 0,
  maxCallArguments: 2,
}

/** What an expression can name, with its type and, for the documentation, what it is. */
export const conditionNames: Readonly<Record<string, readonly [type: string, what: string]>> = {
  'pkg.name': ['string', 'the name, with its scope'],
  'pkg.scope': ['string', 'the scope with its @, or ""'],
  'pkg.version': ['string', 'the version'],
  'pkg.prerelease': ['bool', 'whether the version is a prerelease'],
  'pkg.deprecated': ['bool', 'whether the packument calls it deprecated; unsigned'],
  'pkg.ageHours': ['int', 'whole hours since it is public, by the clock of the minimum age'],
  upstream: ['string', 'the upstream it came from'],
  registrySignature: ['string', '"verified", "absent" or "invalid"'],
  publishAttestation: ['string', 'the same'],
  provenance: ['string', 'the same'],
  ...Object.fromEntries(
    identityFields.map(field => [
      `identity.${field}`,
      ['string', "who signed the provenance, by the certificate's word"] as const,
    ]),
  ),
  vouchedBy: [
    'list<string>',
    'who vouched for these bytes: `SHA256:…` for a key, issuer and subject with a space between for a certificate; no vouch that was revoked or has ended',
  ],
  now: ['google.protobuf.Timestamp', 'the time, as of the full hour, UTC'],
}

const known = Object.keys(conditionNames)
const variables = [...new Set(known.map(name => name.split('.')[0] ?? ''))]

const functions = ['has', 'size', 'int', 'string', 'timestamp', 'duration']
const methods: Readonly<Record<string, number>> = {
  startsWith: 1,
  endsWith: 1,
  contains: 1,
  indexOf: 1,
  lastIndexOf: 1,
  substring: 2,
  lowerAscii: 0,
  upperAscii: 0,
  trim: 0,
  size: 0,
  // without an argument: in UTC
  getFullYear: 0,
  getMonth: 0,
  getDate: 0,
  getDayOfWeek: 0,
  getHours: 0,
}

const openEnvironment = (): Cel.Environment => {
  const { Environment } = createRequire(import.meta.url)('@marcbachmann/cel-js') as typeof Cel
  return variables.reduce((env, name) => {
    const fields = known.filter(full => full.startsWith(`${name}.`))
    const typeOf = (full: string) => conditionNames[full]?.[0] ?? 'dyn'
    return fields.length === 0
      ? env.registerVariable(name, typeOf(name))
      : env.registerVariable({
          name,
          schema: Object.fromEntries(
            fields.map(full => [full.slice(name.length + 1), typeOf(full)]),
          ),
        })
  }, new Environment({ limits }))
}

let opened: Cel.Environment | undefined
/** Few policies have conditions, and to load the language takes a twentieth of a server's start. */
const environment = (): Cel.Environment => (opened ??= openEnvironment())

/** What is wrong, and where in the text, in UTF-16 units. */
export type ConditionComplaint = { readonly message: string; readonly offset: number }

export type Program = {
  readonly run: (view: Readonly<Record<string, unknown>>) => unknown
  /** Names that the expression holds, of `conditionNames`. */
  readonly names: ReadonlySet<string>
}

/** An error of the CEL library: a summary without its drawing, and where it is. */
const complaintOf = (error: unknown): ConditionComplaint => {
  const { summary, range, message } = error as {
    readonly summary?: string
    readonly range?: { readonly start: number }
    readonly message?: string
  }
  const said = summary ?? message ?? String(error)
  return {
    message: said === 'Unexpected token: EOF' ? 'it ends where more is wanted' : said,
    offset: range?.start ?? 0,
  }
}

const isNode = (value: unknown): value is Cel.ASTNode =>
  typeof value === 'object' && value !== null && 'op' in value && 'args' in value

const childrenOf = ({ op, args }: Cel.ASTNode): readonly Cel.ASTNode[] =>
  op === 'value' ? [] : [args].flat(3).filter(isNode)

/** `pkg.name` for a variable and its field. */
const pathOf = (node: Cel.ASTNode): string | undefined => {
  if (node.op === 'id') return node.args
  if (node.op !== '.') return undefined
  const [left, field] = node.args
  return left.op === 'id' ? `${left.args}.${field}` : undefined
}

const unknownName = (name: string): string => `there is no ${name}${didYouMean(name, known)}`

const insteadOfMatches =
  'matches is not taken, for a pattern can take for ever; wanted startsWith, endsWith, contains or =='

const callComplaint = (node: Cel.ASTNode): string | undefined => {
  if (node.op === 'call') {
    const [name, args] = node.args
    if (!functions.includes(name))
      return `there is no function ${name}${didYouMean(name, functions)}`
    const [first] = args
    const path = first === undefined ? undefined : pathOf(first)
    // what else may be missing was not looked at yet, and that is no answer
    return name === 'has' && path?.startsWith('identity.') !== true
      ? 'has takes a field of identity, as in has(identity.environment)'
      : undefined
  }
  if (node.op !== 'rcall') return undefined
  const [name, , args] = node.args
  const most = Object.hasOwn(methods, name) ? methods[name] : undefined
  if (name === 'matches') return insteadOfMatches
  if (most === undefined)
    return `there is no function ${name} here${didYouMean(name, Object.keys(methods))}`
  return args.length > most
    ? `${name} takes ${most === 0 ? 'nothing' : most} in its brackets`
    : undefined
}

const nodeComplaint = (node: Cel.ASTNode): string | undefined => {
  switch (node.op) {
    case 'id':
      return variables.includes(node.args) ? undefined : unknownName(node.args)
    case '.': {
      const path = pathOf(node)
      if (path === undefined) return 'only variables have fields'
      const root = path.slice(0, path.indexOf('.'))
      return variables.includes(root) && !known.includes(path) ? unknownName(path) : undefined
    }
    case '[]':
      return 'no brackets are taken; write pkg.name, not pkg["name"]'
    case 'map':
    case '.?':
    case '[?]':
      return 'maps and optional fields are not taken'
    default:
      return callComplaint(node)
  }
}

const literals: Readonly<Record<string, readonly [form: RegExp, wanted: string]>> = {
  // without a zone it would be that of this machine
  timestamp: [
    /^\d{4}-\d\d-\d\dT[\d:.]{5,15}(Z|[+-]\d\d:\d\d)$/,
    'timestamp("2027-03-01T12:00:00Z")',
  ],
  // the library's own reading of durations takes long for long texts
  duration: [/^[0-9.hms]{1,20}$/, 'duration("36h") or duration("90m")'],
}

/** Times are written out: nothing that came with a package is read as one. */
const literalComplaint = (node: Cel.ASTNode): string | undefined => {
  if (node.op !== 'call') return undefined
  const [name, [argument]] = node.args
  const literal = Object.hasOwn(literals, name) ? literals[name] : undefined
  if (literal === undefined) return undefined
  const [form, wanted] = literal
  const said = argument?.op === 'value' ? argument.args : undefined
  if (typeof said !== 'string' || !form.test(said)) return `wanted a text as in ${wanted}`
  try {
    environment().evaluate(`${name}(${JSON.stringify(said)})`)
    return undefined
  } catch {
    return `wanted a text as in ${wanted}; found ${JSON.stringify(said)}`
  }
}

const walk = (
  node: Cel.ASTNode,
  see: (node: Cel.ASTNode) => ConditionComplaint | undefined,
): ConditionComplaint | undefined => {
  const found = see(node)
  if (found) return found
  for (const child of childrenOf(node)) {
    const inner = walk(child, see)
    if (inner) return inner
  }
  return undefined
}

/** Reads, checks names and types, and gives what can be run; or the first complaint. */
export const readCondition = (text: string): Program | ConditionComplaint => {
  if (text.length > conditionMost)
    return {
      message: `found ${text.length} characters; wanted at most ${conditionMost}`,
      offset: 0,
    }
  try {
    const program = environment().parse(text)
    const names = new Set<string>()
    const complaint = walk(program.ast, node => {
      const message = nodeComplaint(node) ?? literalComplaint(node)
      if (message !== undefined)
        return { message, offset: node.op === '.' ? node.pos : node.start }
      const path = pathOf(node)
      if (path !== undefined && known.includes(path)) names.add(path)
      return undefined
    })
    if (complaint) return complaint
    const { valid, type, error } = program.check()
    if (!valid) return complaintOf(error)
    if (type !== 'bool')
      return { message: `wanted something that is true or false; found ${type}`, offset: 0 }
    return { run: view => program(view) as unknown, names }
  } catch (error) {
    return complaintOf(error)
  }
}
