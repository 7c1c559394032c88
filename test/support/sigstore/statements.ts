/** in-toto statements as npm's registry and npm's command make them. */
import { createHash } from 'node:crypto'
import {
  githubDefaults,
  gitlabDefaults,
  type GithubPublisher,
  type GitlabPublisher,
} from './publisher.ts'

export type Statement = {
  readonly _type: string
  readonly subject: readonly {
    readonly name: string
    readonly digest: Readonly<Record<string, string>>
  }[]
  readonly predicateType: string
  readonly predicate: Readonly<Record<string, unknown>>
}

export const publishPredicate =
  'https://github.com/npm/attestation/tree/main/specs/publish/v0.1'
export const slsaV1 = 'https://slsa.dev/provenance/v1'
export const slsaV02 = 'https://slsa.dev/provenance/v0.2'
export const statementV01 = 'https://in-toto.io/Statement/v0.1'
export const statementV1 = 'https://in-toto.io/Statement/v1'
export const inTotoPayload = 'application/vnd.in-toto+json'

export type Artifact = {
  readonly name: string
  readonly version: string
  /** `sha512-<base64>` */
  readonly integrity: string
}

export const purl = (name: string, version: string) =>
  `pkg:npm/${name.replace(/^@/, '%40')}@${version}`

export const sha512Hex = (integrity: string) =>
  Buffer.from(integrity.replace(/^sha512-/, ''), 'base64').toString('hex')

/** The SRI string of some bytes. */
export const integrityOf = (bytes: Uint8Array): `sha512-${string}` =>
  `sha512-${createHash('sha512').update(bytes).digest('base64')}`

export const subjectOf = ({ name, version, integrity }: Artifact) => ({
  name: purl(name, version),
  digest: { sha512: sha512Hex(integrity) },
})

export const publishStatement = (artifact: Artifact, registry: string): Statement => ({
  _type: statementV01,
  subject: [subjectOf(artifact)],
  predicateType: publishPredicate,
  predicate: { name: artifact.name, version: artifact.version, registry },
})

/** libnpmpublish's statement for GitHub Actions. */
export const githubV1 = (artifact: Artifact, publisher: GithubPublisher): Statement => {
  const p = githubDefaults(publisher)
  const repository = `${p.server}/${p.repository}`
  return {
    _type: statementV1,
    subject: [subjectOf(artifact)],
    predicateType: slsaV1,
    predicate: {
      buildDefinition: {
        buildType: 'https://slsa-framework.github.io/github-actions-buildtypes/workflow/v1',
        externalParameters: { workflow: { ref: p.ref, repository, path: p.workflow } },
        internalParameters: {
          github: {
            event_name: p.trigger,
            repository_id: p.repositoryId,
            repository_owner_id: p.ownerId,
          },
        },
        resolvedDependencies: [
          { uri: `git+${repository}@${p.ref}`, digest: { gitCommit: p.commit } },
        ],
      },
      runDetails: {
        builder: { id: `https://github.com/actions/runner/${p.runner}` },
        metadata: {
          invocationId: `${repository}/actions/runs/${p.run.id}/attempts/${p.run.attempt}`,
        },
      },
    },
  }
}

/** npm 9's statement for GitHub Actions. */
export const githubV02 = (artifact: Artifact, publisher: GithubPublisher): Statement => {
  const p = githubDefaults(publisher)
  const uri = `git+https://github.com/${p.repository}`
  return {
    _type: statementV01,
    subject: [subjectOf(artifact)],
    predicateType: slsaV02,
    predicate: {
      buildType: 'https://github.com/npm/cli/gha/v2',
      builder: { id: 'https://github.com/actions/runner' },
      invocation: {
        configSource: {
          uri: `${uri}@${p.ref}`,
          digest: { sha1: p.commit },
          entryPoint: p.workflow,
        },
        parameters: {},
        environment: {
          GITHUB_EVENT_NAME: p.trigger,
          GITHUB_REF: p.ref,
          GITHUB_REPOSITORY: p.repository,
          GITHUB_REPOSITORY_ID: p.repositoryId,
          GITHUB_REPOSITORY_OWNER_ID: p.ownerId,
          GITHUB_RUN_ATTEMPT: p.run.attempt,
          GITHUB_RUN_ID: p.run.id,
          GITHUB_SHA: p.commit,
          GITHUB_WORKFLOW_REF: p.workflowRef,
          GITHUB_WORKFLOW_SHA: p.commit,
        },
      },
      metadata: {
        buildInvocationId: `${p.run.id}-${p.run.attempt}`,
        completeness: { parameters: false, environment: false, materials: false },
        reproducible: false,
      },
      materials: [{ uri: `${uri}@${p.ref}`, digest: { sha1: p.commit } }],
    },
  }
}

/** libnpmpublish's statement for GitLab CI, which stayed at SLSA v0.2. */
export const gitlabV02 = (artifact: Artifact, publisher: GitlabPublisher): Statement => {
  const p = gitlabDefaults(publisher)
  const url = `${p.server}/${p.project}`
  return {
    _type: statementV01,
    subject: [subjectOf(artifact)],
    predicateType: slsaV02,
    predicate: {
      buildType: 'https://github.com/npm/cli/gitlab/v0alpha1',
      builder: { id: `${url}/-/runners/12270845` },
      invocation: {
        configSource: { uri: `git+${url}`, digest: { sha1: p.commit }, entryPoint: 'publish' },
        parameters: { CI_PROJECT_ID: p.projectId, CI_PIPELINE_SOURCE: p.trigger },
        environment: {
          name: 'runner',
          architecture: 'linux/amd64',
          server: p.server,
          project: p.project,
        },
      },
      metadata: {
        buildInvocationId: p.jobId,
        completeness: { parameters: true, environment: true, materials: false },
        reproducible: false,
      },
      materials: [{ uri: `git+${url}`, digest: { sha1: p.commit } }],
    },
  }
}
