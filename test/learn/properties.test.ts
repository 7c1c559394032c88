/** What must hold of every policy that is learned, whatever it was learned from. */
import fc from 'fast-check'
import t from 'tap'
import { forget } from '../../lib/learn/forget.ts'
import { learn } from '../../lib/learn/learn.ts'
import { idOf, isBuilt, observationOf } from '../../lib/learn/observation.ts'
import { objections } from '../../lib/learn/prove.ts'
import { readSource } from '../../lib/learn/source.ts'
import { judge } from '../../lib/policy/evaluate.ts'
import { parsePolicy } from '../../lib/policy/parse.ts'
import type { Policy } from '../../lib/policy/policy.ts'
import type { Identity, JudgeInput } from '../../lib/types.ts'
import { now } from '../policy/material.ts'
import { judged, type Build, type Seen } from './material.ts'

const file = 'p.yaml'
const repo = fc.constantFrom(
  'acme/mono',
  'acme/lib',
  'other/lib',
  'solo/Thing.js',
  'x/if-present',
)
const tagged = (name: string, version: string) =>
  fc.constantFrom(
    `refs/tags/v${version}`,
    `refs/tags/${version}`,
    `refs/tags/${name}@${version}`,
    `refs/tags/${name.split('/').at(-1)}-v${version}`,
    `refs/heads/release/${version}`,
    'refs/heads/main',
    'refs/heads/next',
  )
const build = (name: string, version: string): fc.Arbitrary<Build> =>
  fc
    .record({
      repo,
      ref: fc.option(tagged(name, version), { nil: undefined }),
      workflow: fc.constantFrom(
        '.github/workflows/release.yml',
        '.github/workflows/b c.yml',
        'ci/p.yml',
      ),
      trigger: fc.constantFrom('push', 'push', 'workflow_dispatch', 'release'),
      environment: fc.constantFrom(undefined, undefined, 'npm', "it's {odd}", 'a: b # c'),
      legacy: fc.constantFrom(false, false, false, true),
      signer: fc.constantFrom(
        undefined,
        undefined,
        'https://github.com/a/b/.github/workflows/c.yml@refs/tags/v1',
      ),
    })
    .map(({ legacy, ref, ...rest }) => ({
      ...rest,
      ...(ref !== undefined && { ref }),
      ...(legacy && { id: undefined, runner: undefined }),
    }))

const names = [
  '@acme/a',
  '@acme/b',
  '@acme/c',
  '@acme/d',
  '@acme/e',
  '@other/x',
  '@other/y',
  'lib',
  'left-pad',
  '2-thenable',
]
const versions = ['0.9.0', '1.0.0', '1.1.0', '1.2.3', '2.0.0', '2.0.0-rc.1', '3.0.0']

/** A package: each of its versions built, bare, or there and not in the lockfile. */
const family = (name: string): fc.Arbitrary<readonly (Seen & { readonly locked: boolean })[]> =>
  fc
    .tuple(
      build(name, '1.0.0').chain(usual =>
        fc.tuple(
          ...versions.map(version =>
            fc.oneof(
              // mostly as always, with the version in its place
              {
                arbitrary: fc.constant({
                  build: {
                    ...usual,
                    ...(usual.ref && { ref: usual.ref.replace('1.0.0', version) }),
                  },
                }),
                weight: 4,
              },
              { arbitrary: build(name, version).map(b => ({ build: b })), weight: 1 },
              {
                arbitrary: fc.record({ unsigned: fc.constantFrom(false, false, true) }),
                weight: 2,
              },
            ),
          ),
        ),
      ),
      fc.array(fc.constantFrom(0, 1, 2), {
        minLength: versions.length,
        maxLength: versions.length,
      }),
    )
    .map(([kinds, there]) => {
      const present = versions.map((version, i) => ({ version, ...kinds[i], there: there[i] }))
      const published = present.filter(v => v.there !== 0)
      return published.map(({ version, there: state, ...rest }) => ({
        name,
        version,
        ...rest,
        locked: state === 2,
        others: published
          .filter(o => o.version !== version)
          .map(o => `${o.version}${'build' in o ? '+' : ''}`),
      }))
    })

const project: fc.Arbitrary<readonly JudgeInput[]> = fc
  .subarray(names, { minLength: 1 })
  .chain(some => fc.tuple(...some.map(family)))
  .map(families =>
    families
      .flat()
      .filter(one => one.locked)
      .map(judged),
  )

/** Two lockfiles over the same packages, which share some of their versions. */
const parts = fc
  .tuple(project, fc.infiniteStream(fc.constantFrom(0, 1, 2)))
  .map(([inputs, which]): readonly [readonly JudgeInput[], readonly JudgeInput[]] => {
    const marked = inputs.map(input => ({ input, in: which.next().value }))
    const part = (n: number) => marked.filter(m => m.in !== n).map(m => m.input)
    return [part(0), part(1)]
  })

const isClean = (layers: readonly Policy[], input: JudgeInput) => {
  const { decision, reasons } = judge(layers, input, now)
  return decision === 'allow' && reasons.length === 0
}

const teach = (inputs: readonly JudgeInput[], text?: string, afresh = false) => {
  const before = text === undefined ? undefined : readSource(text, file)
  const bare = before && afresh ? forget(before, new Set()) : before
  const clean = inputs.filter(input => isClean(bare ? [bare.policy] : [], input))
  const others = inputs.filter(input => !clean.includes(input)).map(i => i.package.name)
  const source = before && afresh ? forget(before, new Set(others)) : before
  const lesson = learn({
    observations: clean.map(observationOf),
    others,
    ...(source && { source }),
    file,
    heading: ['A test.'],
  })
  const unwritable = new Set(lesson.unwritable.map(idOf))
  const learned = clean.filter(i => !unwritable.has(idOf(i.package)))
  const own = new Set(lesson.own.map(idOf))
  const pinned = learned.filter(i => isBuilt(observationOf(i)) && !own.has(idOf(i.package)))
  return { lesson, learned, pinned }
}

const objecting = ({ lesson, learned, pinned }: ReturnType<typeof teach>) =>
  objections(lesson.text, {
    file,
    among: policy => [policy],
    learned,
    pinned: new Set(pinned.map(i => idOf(i.package))),
    now,
  })

const resigned = (input: JudgeInput, change: Partial<Identity>): JudgeInput => {
  const { provenance } = input.evidence
  if (provenance.state !== 'verified') throw new Error('nothing to sign again')
  const identity = { ...provenance.identity, ...change }
  return { ...input, evidence: { ...input.evidence, provenance: { ...provenance, identity } } }
}

/** What somebody else's build of the same version would look like. */
const elsewhere: readonly Partial<Identity>[] = [
  { repository: 'https://github.com/evil/lib', repositoryId: '666' },
  // somebody was given the name of a repository that is gone
  { repositoryId: '666' },
  { issuer: 'https://accounts.example' },
  { workflow: '.github/workflows/evil.yml' },
  { ref: 'refs/heads/evil' },
  { ref: 'refs/tags/v9.9.9' },
  { ref: 'refs/pull/1/merge' },
]

const runs = { numRuns: 60 }

t.test('what was learned is admitted, and pinned', async t => {
  fc.assert(
    fc.property(project, inputs => {
      const taught = teach(inputs)
      const found = objecting(taught)
      if (found.length > 0) throw new Error(`${found.join('\n')}\n${taught.lesson.text}`)
    }),
    runs,
  )
  t.pass('held')
})

t.test('the same versions signed by another are refused', async t => {
  let tried = 0
  fc.assert(
    fc.property(project, inputs => {
      const { lesson, pinned } = teach(inputs)
      const policy = parsePolicy(lesson.text, { file })
      for (const input of pinned) {
        const { provenance } = input.evidence
        const legacy = provenance.state === 'verified' && !provenance.identity.repositoryId
        for (const change of elsewhere) {
          // a certificate without the number is learned without it, for that version alone
          if (legacy && Object.keys(change).join() === 'repositoryId') continue
          tried++
          const verdict = judge([policy], resigned(input, change), now)
          if (verdict.decision !== 'refuse')
            throw new Error(
              `${idOf(input.package)} by ${JSON.stringify(change)}\n${lesson.text}`,
            )
        }
      }
    }),
    runs,
  )
  t.ok(tried > 1000, `${tried} were tried`)
})

t.test('learning again changes nothing, and order does not matter', async t => {
  fc.assert(
    fc.property(project, fc.infiniteStream(fc.nat(1000)), (inputs, random) => {
      const first = teach(inputs)
      const again = teach(inputs, first.lesson.text)
      const shuffled = inputs
        .map(value => ({ value, key: random.next().value }))
        .sort((a, b) => a.key - b.key)
        .map(({ value }) => value)
      if (again.lesson.text !== first.lesson.text)
        throw new Error(`${first.lesson.text}\n--- again\n${again.lesson.text}`)
      const other = teach(shuffled).lesson.text
      if (other !== first.lesson.text)
        throw new Error(`${first.lesson.text}\n--- in another order\n${other}`)
    }),
    runs,
  )
  t.pass('held')
})

const own = `# ours
version: 1

identities:
    # who we are
    acme: { issuer: 'https://token.actions.githubusercontent.com', repository: https://github.com/acme/lib, repositoryId: '1' }   # odd spacing

rules:
    - name:   no   # not that
      packages: [ '@other/x' ]
      deny: { reason: "no" }
    # before left-pad
    - packages:
        - left-pad@1.0.0
      allow: { reason: because }

# about the rest
defaults: { continuity: off }
`

t.test('what is learned later is added, and what was there stays', async t => {
  fc.assert(
    fc.property(parts, fc.constantFrom(undefined, own), ([some, more], start) => {
      const first = teach(some, start)
      const next = teach(more, first.lesson.text)
      for (const found of [objecting(first), objecting(next)])
        if (found.length > 0) throw new Error(`${found.join('\n')}\n${next.lesson.text}`)
      // each line that was there is there, in its order, but for lists that grew
      const left = next.lesson.text.split('\n')
      for (const line of (start ?? '').split('\n')) {
        const at = left.indexOf(line)
        if (at === -1) throw new Error(`lost: ${line}\n${next.lesson.text}`)
        left.splice(0, at + 1)
      }
      const layer = [parsePolicy(next.lesson.text, { file })]
      return first.pinned.every(input => isClean(layer, input))
    }),
    runs,
  )
  t.pass('held')
})

t.test('learned afresh is as learned at first, and what people wrote stays', async t => {
  fc.assert(
    fc.property(parts, ([some, more]) => {
      const first = teach(some, own)
      const afresh = teach(more, first.lesson.text, true)
      const found = objecting(afresh)
      if (found.length > 0) throw new Error(`${found.join('\n')}\n${afresh.lesson.text}`)
      const source = readSource(afresh.lesson.text, file)
      if (forget(source, new Set()).text !== own)
        throw new Error(forget(source, new Set()).text)
      return true
    }),
    runs,
  )
  t.pass('held')
})
