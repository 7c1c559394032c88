/** Documents of a registry, looked into by hand. */
// eslint-disable-next-line typescript/no-explicit-any
export type Json = Record<string, any>
