/** Who asks. */
export type Caller =
  | { readonly kind: 'anonymous' }
  | {
      readonly kind: 'token' | 'oidc'
      /** For the log and the audit record: the token's name, or the issuer's and the subject. */
      readonly name: string
      /** The one view that this caller is judged in; without it any that the path names. */
      readonly view?: string
    }

export const anonymous: Caller = { kind: 'anonymous' }
