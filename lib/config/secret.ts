/** A value that does not print: not in a log, not in JSON, not in an error, not in a debugger's dump. */
import { inspect } from 'node:util'

export const hidden = '[hidden]'

export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
    Object.freeze(this)
  }

  /** The one way to the value; call it where it is used and keep it nowhere else. */
  reveal(): string {
    return this.#value
  }

  toString(): string {
    return hidden
  }

  toJSON(): string {
    return hidden
  }

  [inspect.custom](): string {
    return hidden
  }
}
