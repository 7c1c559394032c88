/** SLSA provenance predicates v1 and v0.2, held against the certificate. */
import type { Identity } from '../types.ts'
import {
  agree,
  agreeBuilder,
  agreeRepository,
  agreeSource,
  agreeSources,
  contradiction,
  sameRef,
} from './agreement.ts'
import { sameRepository, splitWorkflowUri } from './identity.ts'
import { isRecord } from './statement.ts'

type Predicate = Readonly<Record<string, unknown>>

export type Build = { readonly buildType: string; readonly builderId: string }

const part = (record: Predicate, key: string): Predicate => {
  const value = record[key]
  if (value === undefined || value === null) return {}
  return isRecord(value) ? value : contradiction(key, value)
}

const buildTypeOf = (value: unknown): string =>
  typeof value === 'string' && value !== '' ? value : contradiction('build type', value)

/** The last parts of .21: GitHub `…/actions/runs/ID/attempts/N`, GitLab `…/-/jobs/ID`. */
const runParts = (run: string | undefined) => {
  const github = /\/actions\/runs\/(\d+)\/attempts\/(\d+)$/.exec(run ?? '')
  const gitlab = /\/-\/jobs\/(\d+)$/.exec(run ?? '')
  return { id: github?.[1], attempt: github?.[2], job: gitlab?.[1] }
}

/** GitLab's own predicates name the job, npm's its URL. */
const sameRun = (stated: string, certified: string) =>
  stated === certified || stated === runParts(certified).job

/** https://slsa.dev/spec/v1.0/provenance, as npm, pnpm and GitHub's own actions fill it in. */
export const agreeV1 = (predicate: Predicate, identity: Identity): Build => {
  const definition = part(predicate, 'buildDefinition')
  const details = part(predicate, 'runDetails')
  const workflow = part(part(definition, 'externalParameters'), 'workflow')
  const github = part(part(definition, 'internalParameters'), 'github')
  const { repository = '', workflowUri, ref } = identity

  agreeRepository(workflow.repository, identity)
  agree('workflow', workflow.path, identity.workflow, { optional: true })
  // a workflow file can be taken from another ref than the source
  const config = workflowUri && splitWorkflowUri(workflowUri, repository, ref)
  agree('ref', workflow.ref, config ? config.ref : ref, { same: sameRef })
  agree('trigger', github.event_name, identity.trigger)
  agree('repository id', github.repository_id, identity.repositoryId, { optional: true })
  agree('owner id', github.repository_owner_id, identity.ownerId, { optional: true })
  agree('runner environment', github.runner_environment, identity.runner, { optional: true })
  agreeSources(definition.resolvedDependencies, 'gitCommit', identity)
  agree('run', part(details, 'metadata').invocationId, identity.run, {
    optional: true,
    same: sameRun,
  })
  return {
    buildType: buildTypeOf(definition.buildType),
    builderId: agreeBuilder(part(details, 'builder').id, identity),
  }
}

/** What npm 9 copies of GitHub's environment. */
const agreeGithubEnvironment = (environment: Predicate, identity: Identity): void => {
  const { repository, repositoryId, ownerId, ref, commit, trigger, run } = identity
  const optional = true
  const path = (repository === undefined ? undefined : URL.parse(repository)?.pathname)?.slice(
    1,
  )
  agree('source repository', environment.GITHUB_REPOSITORY, path, { same: sameRepository })
  agree('repository id', environment.GITHUB_REPOSITORY_ID, repositoryId, { optional })
  agree('owner id', environment.GITHUB_REPOSITORY_OWNER_ID, ownerId, { optional })
  agree('ref', environment.GITHUB_REF, ref)
  agree('commit', environment.GITHUB_SHA, commit)
  agree('trigger', environment.GITHUB_EVENT_NAME, trigger)
  agree('run', environment.GITHUB_RUN_ID, runParts(run).id, { optional })
  agree('run attempt', environment.GITHUB_RUN_ATTEMPT, runParts(run).attempt, { optional })
  agree('workflow', environment.GITHUB_WORKFLOW_REF, workflowRefOf(identity), { optional })
  agree('workflow digest', environment.GITHUB_WORKFLOW_SHA, identity.workflowDigest, {
    optional,
  })
}

/** What npm copies of GitLab's environment (libnpmpublish, provenance.js). */
const agreeGitlabParameters = (parameters: Predicate, identity: Identity): void => {
  const optional = true
  agreeRepository(parameters.CI_PROJECT_URL, identity)
  agree('commit', parameters.CI_COMMIT_SHA, identity.commit)
  agree('repository id', parameters.CI_PROJECT_ID, identity.repositoryId, { optional })
  agree('owner id', parameters.CI_PROJECT_NAMESPACE_ID, identity.ownerId, { optional })
  agree('trigger', parameters.CI_PIPELINE_SOURCE, identity.trigger, { optional })
  agree('run', parameters.CI_JOB_URL, identity.run, { optional })
  agree('run', parameters.CI_JOB_ID, runParts(identity.run).job, { optional })
}

/** `owner/name/path@ref`, GitHub's own form of .18; where only .1 to .6 exist, of the subject. */
const workflowRefOf = ({ workflowUri, signer, subject }: Identity): string | undefined => {
  const uri = workflowUri ?? (signer === undefined ? subject : undefined)
  return uri === undefined
    ? undefined
    : URL.parse(uri)?.href.slice(new URL(uri).origin.length + 1)
}

/** https://slsa.dev/spec/v0.2/provenance, from npm 9 on GitHub, npm on GitLab, slsa-github-generator. */
export const agreeV02 = (predicate: Predicate, identity: Identity): Build => {
  const invocation = part(predicate, 'invocation')
  const source = part(invocation, 'configSource')
  const builderId = agreeBuilder(part(predicate, 'builder').id, identity)
  const onGitlab = builderId.includes('/-/runners/')
  const run = runParts(identity.run)

  agreeSource(source, 'sha1', identity)
  agreeSources(predicate.materials, 'sha1', identity)
  const invocationId = part(predicate, 'metadata').buildInvocationId
  if (onGitlab) {
    // here the entry point is the name of a job, which certificates do not have
    agreeGitlabParameters(part(invocation, 'parameters'), identity)
    agree('run', invocationId, identity.run, { optional: true, same: sameRun })
  } else {
    agree('workflow', source.entryPoint, identity.workflow, {
      optional: true,
      same: (stated, path) => stated === path || stated === workflowRefOf(identity),
    })
    agreeGithubEnvironment(part(invocation, 'environment'), identity)
    const certified = run.id === undefined ? undefined : `${run.id}-${run.attempt}`
    agree('run', invocationId, certified ?? identity.run, { optional: true })
  }
  return { buildType: buildTypeOf(predicate.buildType), builderId }
}
