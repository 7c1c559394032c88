/** Takes secrets out of text that is about to be written down. The last gate before the log. */

export const hidden = '[hidden]'

const secretKey =
  '(?:proxy-)?authorization|cookie|set-cookie|npm-otp|otp|_?auth_?token|_auth|_?password|passwd|token|secret|api-?key'

const rules: readonly (readonly [RegExp, string])[] = [
  // a key of a JSON line, whatever its depth
  [new RegExp(String.raw`("(?:${secretKey})"\s*:\s*")(?:[^"\\]|\\.)*`, 'gi'), `$1${hidden}`],
  // the same inside a JSON text that is itself a JSON string: quotes of one depth have one run of \
  [
    new RegExp(
      String.raw`((\\{1,9})"(?:${secretKey})\2"\s*:\s*\2").*?(?=(?<!\\)\2"|(?<!\\)"|$)`,
      'gi',
    ),
    `$1${hidden}`,
  ],
  // .npmrc lines: //host/:_authToken=…
  [/(\b_(?:authToken|auth|password)\s*=\s*\\*"?)[^\s"\\]+/gi, `$1${hidden}`],
  // header values
  [/\b(Bearer\s+)[\w.~+/=-]{6,}/gi, `$1${hidden}`],
  [/\b([Bb]asic\s+)(?=[a-z]*[A-Z0-9+/=])[A-Za-z0-9+/]{4,}={0,2}/g, `$1${hidden}`],
  // logout: DELETE /-/user/token/TOKEN
  [/(\/-\/user\/token\/)[^\s"\\/?#]+/gi, `$1${hidden}`],
  // https://user:password@host
  [/(\bhttps?:\/\/)[^\s"'\\/?#@]+@/gi, `$1${hidden}@`],
  [
    /([?&](?:token|access_token|auth|key|sig|signature|x-amz-[\w-]+)=)[^\s"\\&#]+/gi,
    `$1${hidden}`,
  ],
  // tokens known by their form: npm, ours, GitHub, GitLab, JSON web tokens
  [/\bnpm_[A-Za-z0-9]{16,}/g, hidden],
  [/\battestry_[\w-]{16,}/g, hidden],
  [/\b(?:gh[pousr]_|github_pat_|glpat-)[\w-]{16,}/g, hidden],
  [/\beyJ[\w-]{8,4096}\.[\w-]{8,8192}\.[\w-]*/g, hidden],
]

export const scrub = (text: string): string =>
  rules.reduce((clean, [pattern, instead]) => clean.replace(pattern, instead), text)
