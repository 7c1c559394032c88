/** Learning from real packages, and who else could have signed them. */
import t from 'tap'
import { isBuilt, type Observation } from '../../lib/learn/observation.ts'
import { judge } from '../../lib/policy/evaluate.ts'
import { parsePolicy } from '../../lib/policy/parse.ts'
import type { Identity } from '../../lib/types.ts'
import { input, verified } from '../policy/material.ts'
import { corpusFile, corpusPackages } from '../support/corpus.ts'
import type { ProxyOptions } from '../support/proxy.ts'
import { noReplica, startReplica } from '../support/replica.ts'
import { projectsOver, servedOver } from './learn-project.ts'

t.test('the corpus', { skip: noReplica }, async t => {
  const replica = await startReplica()
  t.teardown(() => replica.close())
  const real: ProxyOptions = {
    upstream: replica.url,
    trustedRoot: corpusFile('trusted_root.json'),
    registryKeys: corpusFile('keys.json'),
  }
  const there = corpusPackages()
  const { learn } = await projectsOver(
    real,
    there.map(({ facts }) => facts),
  )(t)
  const { code, stdout } = await learn(['--json'])
  t.equal(code, 0)
  const report = JSON.parse(stdout) as { policy: string; observations: Observation[] }
  t.ok(report.policy.split('\n').length < 150)
  const withBytes = there.filter(({ tarball }) => tarball !== undefined)
  t.ok(withBytes.length > 10)
  const statuses = await servedOver(real)(
    t,
    report.policy,
    withBytes.map(({ facts }) => facts),
  )
  t.strictSame([...new Set(Object.values(statuses))], [200], 'what was learned is served')

  const layers = [parsePolicy(report.policy, { file: 'learned' })]
  const built = report.observations.filter(isBuilt)
  t.ok(built.length > 10)
  for (const { name, version, identity } of built) {
    const decided = (change: Partial<Identity>) => {
      const provenance = verified({ ...identity, ...change })
      return judge(layers, input({ name, version, provenance }), new Date()).decision
    }
    t.equal(decided({}), 'allow', name)
    for (const change of [
      { repository: 'https://github.com/evil/x', repositoryId: '666' },
      { workflow: '.github/workflows/evil.yml' },
      { ref: 'refs/heads/evil' },
      { ref: 'refs/tags/v99.0.0' },
      ...(identity.repositoryId === undefined ? [] : [{ repositoryId: '666' }]),
    ])
      t.equal(decided(change), 'refuse', `${name}@${version} by ${JSON.stringify(change)}`)
  }
})
