/** Presets as they are written: an issuer in one word, with the safe values for what is left out. */
import { z } from 'zod'

const text = (wanted: string) =>
  z
    .string({ error: `wanted ${wanted}, in quotes` })
    .check(
      z.minLength(1, `wanted ${wanted}`),
      z.maxLength(500, `wanted at most 500 characters`),
    )

const uuids = z.strictObject(
  {
    organization: text('the id of an organization').describe('Its id, a UUID.'),
    project: text('the id of a project').describe('Its id, a UUID.'),
    pipeline: text('the id of a pipeline definition').describe('Its id, a UUID.'),
  },
  { error: 'wanted { organization: …, project: …, pipeline: … }' },
)

const oneOrMore = (wanted: string) =>
  z.union([text(wanted), z.array(text(wanted)).min(1, `wanted ${wanted}`)], {
    error: `wanted ${wanted}, or a list`,
  })

/** One text or several, any of which will do. */
export const triggerField = oneOrMore('a trigger')
  .optional()
  .describe('What started the build, as in push or workflow_dispatch; or a list of these.')

export const presetFields = {
  github: text('a repository as in owner/name#NUMBER')
    .optional()
    .describe(
      'A repository on GitHub as in owner/name#NUMBER, with its number. Beside it stand workflow, and tag or branch.',
    ),
  gitlab: text('a project as in group/name#NUMBER')
    .optional()
    .describe(
      'A project on GitLab as in group/name#NUMBER, with its number. Beside it stand tag or branch.',
    ),
  circleci: uuids
    .optional()
    .describe(
      'A pipeline on CircleCI by its ids. Beside it stand repository, and tag or branch.',
    ),
  google: text('an e-mail address')
    .optional()
    .describe('The e-mail address of a person or a service account at Google.'),
  kubernetes: text('namespace/serviceaccount')
    .optional()
    .describe(
      'A service account as in namespace/name. Beside it stands issuer: the cluster, as in https://container.googleapis.com/v1/projects/…',
    ),
  server: text('the address of a server')
    .optional()
    .describe(
      'Beside github or gitlab: the address of a server of your own, as in https://github.acme.example.',
    ),
  enterprise: text('the slug of an enterprise')
    .optional()
    .describe('Beside github: the slug of an enterprise that has an issuer of its own.'),
  tag: oneOrMore('a tag as in v{version}')
    .optional()
    .describe(
      'Beside a preset: the tag that was built, as in v{version}, which is the default; or a list of these.',
    ),
  branch: oneOrMore('a branch as in main')
    .optional()
    .describe(
      'Beside a preset: the branch that was built, in place of a tag; or a list of these.',
    ),
}

export const presetNames = ['github', 'gitlab', 'circleci', 'google', 'kubernetes'] as const
export type PresetName = (typeof presetNames)[number]
